// What is in logs, names and addresses is shown as it is and does nothing; what is live, or shown once, does not get lost.
'use strict';

const assert = require('node:assert/strict');
const net = require('node:net');
const { DESK, PHONE, Person, accessible, clipboard, eventually, found, play, setUp, ship, signIn } = require('./browser.js');

const { CONSOLE, INGEST } = process.env;
const OVERRIDE = '\u202e';
const BLOB_CHARS = 400_000;
const LINES = [
    '{"message":"digits kept","n":12345678901234567890,"price":1.10,"__proto__":"seen","nested":{"__proto__":{"constructor":"deep"}},"list":[9007199254740993]}',
    JSON.stringify({ message: `invoice${OVERRIDE}gnp.exe`, [`na${OVERRIDE}me`]: 'a\u0000b' }),
    '{}',
    JSON.stringify({ message: 'a long one', blob: 'z'.repeat(BLOB_CHARS) }),
];

const shown = (page) => page.locator('tr.log').allTextContents();

// Passes connections on to the console, until they are cut.
class Wire {
    constructor() {
        this.sockets = new Set();
        this.isDown = false;
        const { hostname: host, port } = new URL(CONSOLE);
        this.server = net.createServer((socket) => {
            if (this.isDown) return socket.destroy();
            const further = net.connect(Number(port), host);
            for (const [one, other] of [[socket, further], [further, socket]]) {
                one.on('error', () => other.destroy());
                one.on('close', () => other.destroy());
                one.pipe(other);
            }
            this.sockets.add(socket);
        });
    }

    async open() {
        await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
        // A scenario that fails ends all the same.
        this.server.unref();
        return `http://127.0.0.1:${this.server.address().port}`;
    }

    cut() {
        this.isDown = true;
        for (const socket of this.sockets) socket.destroy();
    }
}

async function staysInItsWidth(page) {
    const [scroll, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(scroll <= width, `${page.url().slice(0, 80)}: ${scroll} wide in ${width}`);
}

// JSON as it was written, against JSON.parse.
async function readsJson(page) {
    const wrong = await page.evaluate(async () => {
        const { Digits, parseWritten } = await import('/assets/written.js');
        const plain = (value) => {
            if (value instanceof Map) return Object.fromEntries([...value].map(([name, each]) => [name, plain(each)]));
            if (value instanceof Digits) return Number(value.text);
            return Array.isArray(value) ? value.map(plain) : value;
        };
        const good = ['{"a":[1,2,{"b":null}],"c":"x\\"y\\\\","d":true,"":{}}', '[]', ' {} ', '"\\u00e9"', '-1.5e+10', '{"a" : [ ] }', '"\\\\"', '["\\\\\\"",1]'];
        const bad = ['', '{', '{"a"}', '[1,]', 'tru', '"abc', '{"a":1}x', '{a:1}', '-', '[1 2]', '"a\nb"', '1.2.3', '01'];
        const threw = (text) => {
            try {
                parseWritten(text);
                return false;
            } catch {
                return true;
            }
        };
        return [...good.filter((text) => JSON.stringify(plain(parseWritten(text))) !== JSON.stringify(JSON.parse(text))), ...bad.filter((text) => !threw(text))];
    });
    assert.deepEqual(wrong, []);
}

play(async (browser) => {
    const { admin, page } = await setUp(browser);
    const call = (method, path, body) => page.evaluate(
        ([method, path, body]) => fetch(path, { method, headers: { 'X-Requested-With': 'shipgate', 'Content-Type': 'application/json' }, body: JSON.stringify(body) }).then((answer) => answer.json()),
        [method, path, body],
    );
    await readsJson(page);
    const settings = await page.evaluate(() => fetch('/v1/account-management/settings').then((answer) => answer.json()));
    const { token } = settings.defaultToken;
    const sent = await fetch(`${INGEST}/?token=${token}&type=e2e`, { method: 'POST', body: LINES.join('\n') });
    assert.equal(sent.status, 200);
    await page.goto('/#/explore?from=now-1h');
    await found(page, 'all are found', async () => (await shown(page)).length === LINES.length);

    // Numbers keep their digits, no name of a field is special, and nothing turns the text around.
    const rows = (await shown(page)).join('\n');
    for (const part of ['n=12345678901234567890', 'price=1.10', '__proto__=seen', 'nested.__proto__.constructor=deep', 'list=[9007199254740993]', 'invoice‹U+202E›gnp.exe', 'na‹U+202E›me=a‹U+0000›b', 'type=e2e']) {
        assert.ok(rows.includes(part), `${part} is not in ${rows.slice(0, 2000)}`);
    }
    await page.locator('tr.log').filter({ hasText: 'digits kept' }).locator('.opener').click();
    await page.locator('.details-table').getByText('12345678901234567890').waitFor();
    await page.getByRole('button', { name: 'Copy JSON' }).click();
    await page.getByText('Copied').first().waitFor();
    for (const part of ['12345678901234567890', '"price":1.10', '"__proto__":"seen"']) assert.ok((await clipboard(page)).includes(part), part);
    await page.locator('[data-key="column-__proto__"]').click();
    await page.locator('td[data-column="__proto__"]').filter({ hasText: 'seen' }).waitFor();
    const read = await page.evaluate(() => [document.body, ...document.querySelectorAll('[title], [aria-label], [data-column]')].map((element) => [element.innerText, element.title, element.ariaLabel, element.dataset.column].join()).join());
    assert.ok(!read.includes(OVERRIDE), 'it is obeyed somewhere');

    // In columns a number stays in one piece, and of a long text there are two lines.
    await ship(token, [{ message: `columns ${'many words '.repeat(40)}`, took: 342.6820554551733, host: 'h', path: '/a/b' }]);
    await page.goto('/#/explore?from=now-1h&query=message:columns&columns=took,host,path,message');
    await found(page, 'it is shown in columns', async () => (await shown(page)).length === 1);
    const { height } = await page.locator('tr.log').boundingBox();
    assert.ok(height < 55, `a row is ${height} high`);
    const lines = await page.locator('td[data-column="took"]').evaluate((cell) => {
        const range = document.createRange();
        range.selectNodeContents(cell);
        return range.getClientRects().length;
    });
    assert.equal(lines, 1, 'the number is broken');

    // Of a long value the page holds what it shows.
    await page.goto('/#/explore?from=now-1h&query=message:long');
    await found(page, 'the long one alone is shown', async () => {
        const rows = await shown(page);
        return rows.length === 1 && rows[0].includes('a long one');
    });
    await page.locator('.opener').click();
    const all = page.getByRole('button', { name: 'Show all 400 kB' });
    await all.waitFor();
    const chars = () => page.evaluate(() => document.documentElement.outerHTML.length);
    assert.ok(await chars() < BLOB_CHARS / 4, `${await chars()} characters`);
    await all.click();
    await eventually('all of it is shown', async () => (await page.locator('.details-value').allTextContents()).some((text) => text.length === BLOB_CHARS));
    await staysInItsWidth(page);

    // Names, too; and an address that is made to spoil the page does not.
    await call('POST', '/v1/log-shipping/tokens', { name: `prod${OVERRIDE}dorp` });
    await call('POST', '/v1/shared-tokens/filters', { field: 'env', value: `t${OVERRIDE}est`, description: `Only${OVERRIDE}test` });
    await page.goto('/#/settings/tokens/shipping');
    await page.getByText('prod‹U+202E›dorp').waitFor();
    await page.goto('/#/settings/tokens/shared');
    await page.getByText('Only‹U+202E›test').waitFor();
    for (const place of [`from=${'x'.repeat(5000)}`, `from=now-${'9'.repeat(3000)}d`, `query=${'y'.repeat(3000)}`, `columns=${'c'.repeat(2000)}`]) {
        await page.goto('about:blank');
        await page.goto(`/#/explore?${place}`);
        await page.locator('.results:not(.stale)').waitFor();
        await staysInItsWidth(page);
    }

    // Of a time that is none the query is not to blame.
    await page.goto('/#/explore?query=fine&from=rubbish');
    await page.getByRole('alert').getByText('from is no time').waitFor();
    assert.equal(await page.locator('.query-problem').innerText(), '');
    assert.equal(await page.getByLabel('Search logs').getAttribute('aria-invalid'), 'false');

    // A recipient who cannot search is told what is shown.
    const share = await call('POST', '/v1/shared-tokens', { tokenName: 'look only', filters: [], queryBar: false });
    const recipient = await Person.arrive(browser, PHONE);
    const theirs = await recipient.page();
    // Logs that are here can be read, however long the count of them takes.
    let count;
    const counted = new Promise((resolve) => (count = resolve));
    await theirs.route('**/v1/logs/histogram?*', (route) => counted.then(() => route.continue()));
    await theirs.goto(`/?embed=true&shareToken=${share.token}#/explore?query=message:digits&from=now-1h`);
    await theirs.getByText('Logs that match message:digits in the last hour.').waitFor();
    await eventually('one is shown', async () => (await shown(theirs)).length === 1);
    assert.equal(await theirs.getByLabel('Search logs').count(), 0);
    await staysInItsWidth(theirs);
    assert.equal(await theirs.locator('.results.stale').count(), 0, 'they are dimmed');
    await accessible(theirs, 'a view without a query bar');
    count();
    await theirs.locator('.stale').waitFor({ state: 'detached' });
    await recipient.leave();

    // What is shown once comes though its dialog was left too early, and stays over the way back and Esc, until it was said that it is kept.
    await page.goto('/#/settings/tokens/api');
    await page.getByRole('button', { name: 'New API token' }).click();
    await page.getByLabel('Name', { exact: true }).fill('terraform');
    await page.getByRole('button', { name: 'Create token' }).click();
    await page.goBack();
    const secret = page.getByRole('dialog', { name: 'API token “terraform”' });
    await secret.waitFor();
    await page.goForward();
    await page.keyboard.press('Escape');
    await secret.getByText('This token is not shown again. Close it again').waitFor();
    await accessible(page, 'the warning before a secret is gone');
    await secret.getByRole('button', { name: 'I have copied it' }).click();
    await secret.waitFor({ state: 'detached' });
    await admin.leave();

    // The live tail is in the address, and outlives a broken connection.
    const wire = new Wire();
    const far = await Person.arrive(browser, { ...DESK, baseURL: await wire.open() });
    const live = await signIn(far);
    await live.goto('/#/explore?query=live');
    await live.getByRole('button', { name: 'Live tail' }).click();
    await live.waitForURL(/live=true/);
    await live.reload();
    await live.locator('[data-live][aria-pressed="true"]').waitFor();
    await ship(token, [{ message: 'live before' }]);
    await live.getByText('live before').waitFor();
    await live.getByRole('button', { name: 'Pause' }).click();
    wire.cut();
    await live.getByRole('button', { name: 'Reconnecting…' }).waitFor();
    await ship(token, [{ message: 'live meanwhile 1' }, { message: 'live meanwhile 2' }]);
    // What comes while that time is searched, and is found as well, is there once.
    await live.route('**/v1/logs?*limit=1000*', async (route) => {
        await ship(token, [{ message: 'live as it mends' }]);
        await live.getByRole('button', { name: 'Resume (1 new)' }).waitFor();
        let answer;
        await eventually('it is found', async () => (await (answer = await route.fetch()).text()).includes('live as it mends'));
        await route.fulfill({ response: answer });
    });
    wire.isDown = false;
    await live.getByText('The logs of that time are added.').waitFor();
    await live.getByRole('button', { name: /Resume/ }).click();
    await ship(token, [{ message: 'live after' }]);
    await live.getByText('live after').waitFor();
    const messages = (await live.locator('tr.log .message').allTextContents()).map((text) => text.replace('live ', ''));
    assert.deepEqual(messages.toSorted(), ['after', 'as it mends', 'before', 'meanwhile 1', 'meanwhile 2'], 'each is shown once');
    await live.getByRole('button', { name: 'Live tail' }).click();
    await live.waitForURL((url) => !url.hash.includes('live=true'));
    await far.leave();
    wire.cut();
    wire.server.close();
});
