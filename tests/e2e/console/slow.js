// What is slow spoils nothing: an answer that comes after a later one, or after one has gone on to something else, is not shown; what
// is pressed twice is done once; what failed is said. And what a page says in passing can be read, heard and put away.
'use strict';

const assert = require('node:assert/strict');
const { accessible, eventually, found, play, setUp, ship } = require('./browser.js');

// More than Explore shows at once.
const LOGS = 120;

// Holds back the answers to `method` at `path` from the page: `next()` waits for another that was asked for and given by the server,
// and gives the function that hands it to the page.
async function hold(page, method, path) {
    const held = [];
    let isOver = false;
    const isOf = (url) => url.pathname === path;
    const handler = async (route) => {
        if (route.request().method() !== method || isOver) return route.fallback();
        const response = await route.fetch();
        if (!isOver) await new Promise((pass) => held.push(pass));
        // Whoever asked may have gone.
        await route.fulfill({ response }).catch(() => {});
    };
    await page.route(isOf, handler);
    return {
        count: () => held.length,
        next: () => eventually(`${method} ${path} is asked`, () => held.shift()),
        over: () => {
            isOver = true;
            held.splice(0).forEach((pass) => pass());
        },
    };
}

// The page has had the answers that were handed to it.
const caughtUp = (page) => page.evaluate(() => fetch('/v1/session').then((answer) => answer.text()).then(() => new Promise((resolve) => setTimeout(resolve))));

const dialogs = (page) => page.locator('dialog[open]').count();

async function answersInOrder(page) {
    await page.goto('/#/settings/tokens/api');
    await page.getByText('two', { exact: true }).waitFor();
    const lists = await hold(page, 'GET', '/v1/api-tokens');
    const remove = async (name) => {
        await page.getByRole('button', { name: `Delete ${name}` }).click();
        await page.getByRole('button', { name: 'Delete API token' }).click();
        await page.getByText(`“${name}” is deleted.`).waitFor();
        return lists.next();
    };
    const early = await remove('one');
    const late = await remove('two');
    late();
    await page.getByText('two', { exact: true }).waitFor({ state: 'detached' });
    early();
    await caughtUp(page);
    assert.equal(await page.getByText('two', { exact: true }).count(), 0, 'a deleted token is back');
    // What was pressed has gone with its row; the focus has not.
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'New API token');
    lists.over();
}

async function pressedTwice(page, grace) {
    await page.goto('/#/settings/users');
    const links = await hold(page, 'POST', `/v1/users/${grace}/invitation`);
    const press = async () => {
        await page.getByRole('button', { name: 'Actions for grace@example.com' }).click();
        await page.getByRole('button', { name: 'New invitation link' }).click();
    };
    let made = 0;
    page.on('request', (request) => request.url().endsWith('/invitation') && (made += 1));
    await press();
    const first = await links.next();
    await press();
    first();
    await page.getByRole('dialog', { name: 'Link for grace@example.com' }).waitFor();
    assert.equal(made, 1, 'the link that is shown is void already');
    links.over();
    await page.getByRole('button', { name: 'Done' }).click();
}

async function whatWasLeft(page) {
    // Asked for on one page, nothing opens on another; pressed twice, it opens once.
    await page.goto('/#/settings/tokens/shipping');
    await page.getByText('2 of 15').waitFor();
    const usage = await hold(page, 'GET', '/v1/log-shipping/usage');
    await page.getByRole('button', { name: 'Delete spare' }).click();
    (await usage.next())();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByRole('button', { name: 'Delete spare' }).dblclick();
    const asked = await usage.next();
    usage.over();
    asked();
    await page.getByRole('dialog', { name: 'Delete “spare”?' }).waitFor();
    await caughtUp(page);
    assert.equal(await dialogs(page), 1);
    await page.getByRole('button', { name: 'Cancel' }).click();

    const later = await hold(page, 'GET', '/v1/log-shipping/usage');
    await page.getByRole('button', { name: 'Delete spare' }).click();
    const left = await later.next();
    await page.goto('/#/settings/general');
    await page.getByRole('heading', { name: 'General' }).waitFor();
    later.over();
    left();
    await caughtUp(page);
    assert.equal(await dialogs(page), 0, 'a question about a page that was left');

    // What fails after its dialog was left is said.
    await page.goto('/#/settings/tokens/api');
    await page.getByRole('button', { name: 'New API token' }).click();
    await page.getByLabel('Name', { exact: true }).fill('never made');
    let fail;
    const failed = new Promise((resolve) => (fail = resolve));
    await page.route('**/v1/api-tokens', (route) => (route.request().method() === 'POST' ? failed.then(() => route.abort()) : route.fallback()));
    await page.getByRole('button', { name: 'Create token' }).click();
    await page.keyboard.press('Escape');
    await page.locator('dialog[open]').waitFor({ state: 'detached' });
    fail();
    await page.locator('.toast').getByText('Shipgate cannot be reached').waitFor();
    await page.unroute('**/v1/api-tokens');

    // So is that one is not signed out.
    await page.route('**/v1/session', (route) => (route.request().method() === 'DELETE' ? route.abort() : route.fallback()));
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: /ada@example.com/ }).click();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.locator('.toast').getByText('Shipgate cannot be reached').waitFor();
    await page.unroute('**/v1/session');
}

// What the page asks by itself, asked before a change and answered after it.
async function renewal(page) {
    await page.goto('/#/settings/tokens/shipping');
    await page.getByText('2 of 15').waitFor();
    const lists = await hold(page, 'POST', '/v1/log-shipping/tokens/search');
    const renewed = await lists.next();
    await page.getByRole('button', { name: 'Rename spare' }).click();
    renewed();
    await caughtUp(page);
    await page.getByLabel('New name of spare').fill('spare two');
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Rename spare two' }).waitFor();
    assert.equal(await page.getByText('spare', { exact: true }).count(), 0, 'the old name is back');
    lists.over();
}

async function searches(page, token) {
    await ship(token, Array.from({ length: LOGS }, (_, at) => ({ message: `slow ${at}`, half: at % 2 })));
    await page.goto('/#/explore?query=message:slow');
    await page.locator('.explore').waitFor();
    const count = page.locator('.count');
    await found(page, 'all are found', async () => (await count.textContent()) === `${LOGS} logs`);

    // While another question is asked, the one before is not gone on with, and its count is not said to be the new one's.
    const further = [];
    page.on('request', (request) => request.url().includes('cursor=') && further.push(request.url()));
    const answers = await hold(page, 'GET', '/v1/logs');
    const counts = await hold(page, 'GET', '/v1/logs/histogram');
    await page.getByLabel('Search logs').fill('message:slow AND half:1');
    await page.getByLabel('Search logs').press('Enter');
    const answer = await answers.next();
    const counted = await counts.next();
    const before = further.length;
    await page.locator('.rows-frame').evaluate((frame) => frame.scrollTo(0, frame.scrollHeight));
    await page.getByRole('button', { name: 'Show older logs' }).click();
    await caughtUp(page);
    assert.deepEqual(further.slice(before), [], 'older logs of another question');
    answer();
    await page.locator('.results:not(.stale)').waitFor();
    assert.equal(await count.textContent(), '');
    counted();
    await page.getByText(`${LOGS / 2} logs`, { exact: true }).waitFor();
    answers.over();
    counts.over();

    // A live view's count of before is not the count of what is asked now.
    await page.getByRole('button', { name: 'Live tail' }).click();
    const renewals = await hold(page, 'GET', '/v1/logs/histogram');
    const old = await renewals.next();
    renewals.over();
    await page.getByRole('button', { name: 'Live tail' }).click();
    await page.getByLabel('Search logs').fill('message:slow');
    await page.getByLabel('Search logs').press('Enter');
    await page.getByText(`${LOGS} logs`, { exact: true }).waitFor();
    old();
    await caughtUp(page);
    assert.equal(await count.textContent(), `${LOGS} logs`);

    // A way back or a link is followed once. Nothing is waited for once a view is no longer live.
    let asked = 0;
    page.on('request', (request) => new URL(request.url()).pathname === '/v1/logs' && (asked += 1));
    await page.goto('/#/explore?query=nothing-of-this-kind');
    await page.getByRole('heading', { name: 'No logs found' }).waitFor();
    assert.equal(asked, 1);
    await page.getByRole('button', { name: 'Live tail' }).click();
    await page.getByText('Waiting for logs…').waitFor();
    await page.getByRole('button', { name: 'Live tail' }).click();
    await page.getByText('Waiting for logs…').waitFor({ state: 'detached' });
    await page.getByRole('heading', { name: 'No logs found' }).waitFor();
}

// What is asked about a filter or a shared token is what there is now, whatever the list shows still.
async function asksWhatThereIs(page) {
    const call = (method, path, body) => page.evaluate(
        ([method, path, body]) => fetch(path, { method, headers: { 'X-Requested-With': 'shipgate', 'Content-Type': 'application/json' }, body: body && JSON.stringify(body) }).then((answer) => answer.text()).then((text) => text && JSON.parse(text)),
        [method, path, body],
    );
    const filter = await call('POST', '/v1/shared-tokens/filters', { field: 'env', value: 'prod', description: 'Only prod' });
    await page.goto('/#/settings/tokens/shared');
    const remove = page.getByRole('button', { name: 'Delete the filter Only prod' });
    await remove.waitFor();
    await call('POST', '/v1/shared-tokens', { tokenName: 'partner', filters: [filter.id] });
    await remove.click();
    await page.getByRole('dialog').getByText('“partner” uses it.').waitFor();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await call('DELETE', `/v1/shared-tokens/filters/${filter.id}`);
    await remove.click();
    await page.locator('.toast').getByText('It was deleted meanwhile.').waitFor();
    await remove.waitFor({ state: 'detached' });
    await page.locator('.badge').getByText('suspended').waitFor();
}

// Who one is is not known yet, and the address changes.
async function notSignedOut(page) {
    await page.goto('about:blank');
    const sessions = await hold(page, 'GET', '/v1/session');
    await page.goto('/#/explore');
    const session = await sessions.next();
    await page.goto('/#/settings/general');
    assert.match(page.url(), /settings\/general/);
    assert.equal(await page.getByRole('heading', { name: 'Sign in' }).count(), 0);
    sessions.over();
    session();
    await page.getByRole('heading', { name: 'General' }).waitFor();
    assert.match(page.url(), /settings\/general/);
}

// What is said in passing.
async function toasts(page) {
    const toast = page.locator('.toast');
    // Says `texts` at once, goes to the last one's button, and gives what is there.
    const say = (...texts) => page.evaluate(async (texts) => {
        const { toast } = await import('/assets/components/toast.js');
        for (const text of texts) toast(text);
        const toasts = [...document.querySelectorAll('.toast')];
        toasts.at(-1).querySelector('button').focus();
        return toasts.map((each) => each.innerText.trim());
    }, texts);
    await page.goto('/#/settings/tokens/shared');
    // What is added to it is read out, since it is there before.
    const rack = await page.locator('.toasts[role="status"][aria-live="polite"]:popover-open').elementHandle();
    await page.getByRole('button', { name: 'Add filter' }).click();
    await page.getByLabel('Field', { exact: true }).fill('env');
    await page.getByLabel('Value').fill('test');
    await page.getByRole('dialog').getByRole('button', { name: 'Add filter' }).click();
    await toast.getByText('“env: test” is added. Choose it for a shared token.').waitFor();
    assert.ok(await rack.evaluate((element) => element.isConnected && element.querySelector('.toast') !== null), 'it is not read out');
    await toast.waitFor({ state: 'detached' });

    // The two that were said last; the one somebody is at stays until it is put away, by its button or with Esc.
    assert.deepEqual(await say('first', 'second', 'third'), ['second', 'third']);
    await toast.filter({ hasText: 'second' }).waitFor({ state: 'detached' });
    assert.deepEqual(await toast.allInnerTexts(), ['third']);
    await page.keyboard.press('Enter');
    await toast.waitFor({ state: 'detached' });
    assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
    await say('fourth');
    await accessible(page, 'a toast');
    await page.keyboard.press('Escape');
    await toast.waitFor({ state: 'detached' });
}

play(async (browser) => {
    const { admin, page } = await setUp(browser);
    const { token, grace } = await page.evaluate(async () => {
        const call = (path, body) => fetch(path, { method: body ? 'POST' : 'GET', headers: { 'X-Requested-With': 'shipgate', 'Content-Type': 'application/json' }, body: body && JSON.stringify(body) }).then((answer) => answer.json());
        for (const name of ['one', 'two']) await call('/v1/api-tokens', { name });
        await call('/v1/log-shipping/tokens', { name: 'spare' });
        const { user } = await call('/v1/users', { email: 'grace@example.com', role: 'user' });
        return { token: (await call('/v1/account-management/settings')).defaultToken.token, grace: user.id };
    });
    await answersInOrder(page);
    await pressedTwice(page, grace);
    await whatWasLeft(page);
    await renewal(page);
    await searches(page, token);
    await notSignedOut(page);
    await asksWhatThereIs(page);
    await page.locator('.toast').waitFor({ state: 'detached' });
    await toasts(page);
    await admin.leave();
});
