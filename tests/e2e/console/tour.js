// Every page, in light and dark, on a desk and on a phone: a picture of each, and what axe finds.
'use strict';

const { ADMIN, DESK, PHONE, Person, accessible, eventually, picture, play, setUp, settled, ship, signIn } = require('./browser.js');

const MESSAGES = [
    ['info', 'request served'], ['info', 'cart updated'], ['info', 'token refreshed'], ['debug', 'cache hit for user 8812'],
    ['warn', 'upstream answered after 2.4 s'], ['error', 'card processor refused the connection'],
];
const SERVICES = ['checkout', 'payments', 'search', 'gateway'];
const LOGS = 600;
const SECONDS_BACK = 840;
// After which the logs of the last quarter of an hour are shipped again.
const FRESH_MS = 300_000;

// The same logs at every run, and no pattern to be seen.
const scattered = (at, of) => (Math.imul(at + 1, 2654435761) >>> 8) % of;

function log(at) {
    const [level, message] = MESSAGES[scattered(at, MESSAGES.length)];
    const back = SECONDS_BACK * 1000 * (at / LOGS) ** 1.6;
    return {
        '@timestamp': new Date(Date.now() - back).toISOString(), level, message,
        service: SERVICES[scattered(at * 3, SERVICES.length)], env: scattered(at * 5, 3) ? 'prod' : 'test',
        status: level === 'error' ? 502 : 200, latency_ms: scattered(at * 7, 900) + 0.5,
        user: { id: `u-${scattered(at * 11, 9000)}`, plan: scattered(at * 13, 4) ? 'free' : 'pro' },
    };
}

// What an account in use has, by the API.
async function furnish(page) {
    const call = (method, path, body) => page.evaluate(
        ([method, path, body]) => fetch(path, {
            method,
            headers: { 'Content-Type': 'application/json', 'X-Requested-With': 'shipgate' },
            body: body && JSON.stringify(body),
        }).then((answer) => answer.json().catch(() => null)),
        [method, path, body],
    );
    const { defaultToken } = await call('GET', '/v1/account-management/settings');
    const created = [];
    for (const name of ['apac prod', 'eu prod', 'old jenkins', 'laptop of Grace']) created.push(await call('POST', '/v1/log-shipping/tokens', { name }));
    for (const [at, token] of created.slice(0, 3).entries()) await ship(token.token, [log(10 + at), log(20 + at)]);
    for (const token of created.slice(2)) await call('PUT', `/v1/log-shipping/tokens/${token.id}`, { enabled: false });
    await eventually('a disabled token is refused', async () => (await fetch(`${process.env.INGEST}/?token=${created[2].token}`, { method: 'POST', body: JSON.stringify(log(30)) })).status === 401);
    for (const query of ['', '?token=NobodyMadeThisTokenEver', '?token=NobodyMadeThisTokenEver']) await fetch(`${process.env.INGEST}/${query}`, { method: 'POST', body: '{}' });
    const filters = [];
    for (const [field, value, description] of [['env', 'test', 'Only the test environment'], ['service', 'payments', 'Payments']]) {
        filters.push(await call('POST', '/v1/shared-tokens/filters', { field, value, description }));
    }
    const partner = await call('POST', '/v1/shared-tokens', { tokenName: 'payments partner', filters: filters.map(({ id }) => id), filtersOperator: 'OR' });
    await call('POST', '/v1/shared-tokens', { tokenName: 'status page', filters: [], expirationDate: Math.floor(Date.now() / 1000) + 20 * 86_400 });
    await call('POST', '/v1/users', { email: 'grace@example.com', role: 'user' });
    await call('POST', '/v1/views', { name: 'Failed payments', view: 'explore?query=service%3Apayments+AND+level%3Aerror&from=now-1h' });
    return { shareToken: partner.token, shippingToken: created[0].token, defaultToken: defaultToken.token };
}

// Ships what Explore shows, whenever what was shipped has become old.
function freshener({ defaultToken }) {
    let shipped = -Infinity;
    return async () => {
        if (Date.now() - shipped < FRESH_MS) return;
        shipped = Date.now();
        await ship(defaultToken, Array.from({ length: LOGS }, (_, at) => log(at)));
    };
}

// Ships until the page shows it.
const whileShipping = (token) => async (page) => {
    const lines = page.locator('.figure', { hasText: 'Lines a second' }).locator('.figure-value');
    await eventually('lines are shown', async () => {
        await ship(token, Array.from({ length: 6 }, (_, at) => log(at)));
        await page.waitForTimeout(250);
        return (await lines.textContent()) !== '0';
    });
};

const click = (role, name) => (page) => page.getByRole(role, { name }).first().click();

// Name, address, what is waited for, and what is done first.
const pages = ({ shareToken, shippingToken }) => [
    ['explore', '/#/explore', '.log', (page) => page.locator('.opener').nth(1).click()],
    ['explore-columns', '/#/explore?query=env:prod&columns=level,service,message,latency_ms', '.log'],
    ['explore-mistake', '/#/explore?query=level:(error', '.query-problem p'],
    ['explore-nothing', '/#/explore?query=nothing-of-this-kind', '.empty'],
    ['explore-share', '/#/explore?query=level:error', '.log', click('button', 'Share')],
    ['explore-range', '/#/explore', '.log', click('button', /Time range/)],
    ['explore-live', '/#/explore?query=level:warn&live=true', '.log'],
    ['explore-views', '/#/explore', '.log', click('button', 'Views')],
    ['explore-syntax', '/#/explore', '.log', click('button', 'How to search')],
    ['tokens-shipping', '/#/settings/tokens/shipping', '.table'],
    ['tokens-shipping-delete', '/#/settings/tokens/shipping', '.table', async (page) => {
        await click('button', 'Delete eu prod')(page);
        // It opens when it is known who uses the token.
        await page.locator('dialog[open]').waitFor();
    }],
    ['tokens-shared', '/#/settings/tokens/shared', '.table'],
    ['tokens-shared-edit', '/#/settings/tokens/shared', '.table', async (page) => {
        await click('button', /Edit payments partner/)(page);
        await page.locator('dialog summary').click();
    }],
    ['tokens-api', '/#/settings/tokens/api', '.table'],
    ['tokens-api-new', '/#/settings/tokens/api', '.table', click('button', 'New API token')],
    ['general', '/#/settings/general', '.facts'],
    ['users', '/#/settings/users', '.table'],
    ['users-menu', '/#/settings/users', '.table', click('button', /Actions for grace/)],
    ['users-invite', '/#/settings/users', '.table', click('button', 'Invite user')],
    ['send', '/#/send?shipper=vector', '.snippet'],
    ['operations', '/#/operations', '.figures', whileShipping(shippingToken)],
    ['operations-refused', '/#/operations', '.figures', click('button', /show why/)],
    ['operations-audit-nothing', '/#/operations/audit?who=nobody', '.empty'],
    ['operations-audit', '/#/operations/audit', '.table'],
    ['nowhere', '/#/nowhere', '.empty'],
    ['recipient', `/?embed=true&shareToken=${shareToken}#/explore`, '.log'],
    ['link-over', '/?embed=true&shareToken=nothing#/explore', '.empty'],
];
const DOORS = [['login', '/#/login'], ['setup', '/#/setup?token=x'], ['join', '/#/join?token=x']];

async function visit(page, name, look, [address, ready, first]) {
    await page.goto('about:blank');
    await page.goto(address);
    await page.locator(ready).first().waitFor();
    await page.locator('.stale, .bone').first().waitFor({ state: 'detached' });
    if (first) await first(page);
    await page.locator('.bone').first().waitFor({ state: 'detached' });
    await settled(page);
    await picture(page, `${name}-${look}`);
    await accessible(page, `${name}, ${look}`);
}

play(async (browser) => {
    const { admin, page } = await setUp(browser);
    const tokens = await furnish(page);
    const freshen = freshener(tokens);
    await admin.leave();
    for (const colorScheme of ['light', 'dark']) {
        for (const [device, options] of [['desk', DESK], ['phone', PHONE]]) {
            const look = `${colorScheme}-${device}`;
            const visitor = await Person.arrive(browser, { ...options, colorScheme });
            const outside = await visitor.page();
            for (const [name, address] of DOORS) await visit(outside, name, look, [address, 'form']);
            await outside.close();
            const page = await signIn(visitor, ADMIN);
            for (const [name, ...rest] of pages(tokens)) {
                await freshen();
                await visit(page, name, look, rest);
            }
            await visitor.leave();
        }
    }
});
