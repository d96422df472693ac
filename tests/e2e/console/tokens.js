// An admin's first day: from the set-up link to a token that is created, copied, renamed, disabled and deleted while a
// published shipper ships with it.
'use strict';

const assert = require('node:assert/strict');
const { createLogger } = require('logzio-nodejs');
const { clipboard, eventually, found, play, setUp, signIn, Person } = require('./browser.js');

// logzio-nodejs, shipping a log now and then, and what became of them.
class Shipper {
    constructor(token) {
        this.accepted = 0;
        // The numbers of the logs that were refused.
        this.refusals = new Set();
        this.sent = 0;
        const { hostname: host, port } = new URL(process.env.INGEST);
        this.logger = createLogger({
            token, host, port, protocol: 'http', type: 'shipper', bufferSize: 1, sendIntervalMs: 50, numberOfRetries: 0,
            addOtelContext: false, supressErrors: true,
            callback: (refusal, bulk) => {
                if (refusal) bulk.msgs.forEach(({ id }) => this.refusals.add(id));
                else this.accepted += 1;
            },
        });
        this.timer = setInterval(() => this.logger.log({ id: (this.sent += 1), message: 'a real shipper ships' }), 20);
    }

    get refused() {
        return this.refusals.size;
    }

    stop() {
        clearInterval(this.timer);
        this.logger.close();
    }
}

const row = (page, name) => page.getByRole('row').filter({ has: page.getByText(name, { exact: true }) });

play(async (browser) => {
    const { admin, page } = await setUp(browser);
    await page.getByRole('heading', { name: 'No logs found' }).waitFor();

    // A set-up link works once.
    const other = await Person.arrive(browser);
    const late = await other.page();
    await late.goto(process.env.SETUP_LINK);
    await late.getByLabel('Email').fill('mallory@example.com');
    await late.getByLabel('Password').fill('me too please me too');
    await late.getByRole('button', { name: 'Create admin' }).click();
    await late.locator('.form-problem').filter({ hasText: /\w/ }).waitFor();
    await other.leave();

    await page.getByRole('link', { name: 'Manage tokens' }).click();
    await page.getByText('1 of 15').waitFor();
    const sole = page.getByRole('switch', { name: 'default enabled' });
    assert.equal(await sole.getAttribute('aria-disabled'), 'true', 'a sole token can be switched off');
    assert.match(await sole.getAttribute('title'), /only token/, 'it does not say why');
    await page.getByRole('button', { name: /^Delete default: .*only token/ }).waitFor();

    // Create, with a mistake first.
    await page.getByRole('button', { name: 'New log shipping token' }).click();
    await page.getByRole('button', { name: 'Create token' }).click();
    await page.getByText('Give it a name.').waitFor();
    await page.getByLabel('Name', { exact: true }).fill('default');
    await page.getByRole('button', { name: 'Create token' }).click();
    await page.locator('dialog .form-problem').filter({ hasText: /name/i }).waitFor();
    await page.getByLabel('Name', { exact: true }).fill('apac prod');
    await page.getByRole('button', { name: 'Create token' }).click();
    await page.getByText('2 of 15').waitFor();

    // Copy.
    await page.getByRole('button', { name: 'Copy the token apac prod' }).click();
    await row(page, 'apac prod').getByText('Copied').waitFor();
    const token = await clipboard(page);
    assert.match(token, /^[A-Za-z0-9]{32}$/);

    const shipper = new Shipper(token);
    await eventually('it ships', () => shipper.accepted > 10);

    // Rename in place: nothing is refused.
    await page.getByRole('button', { name: 'Rename apac prod' }).click();
    await page.getByLabel('New name of apac prod').fill('apac production');
    await page.keyboard.press('Enter');
    await row(page, 'apac production').waitFor();
    assert.equal(shipper.refused, 0, 'renaming stopped a shipper');

    // The page learns who ships, by itself.
    await row(page, 'apac production').getByText(/just now|minute/).waitFor();

    // Disable: it says who still ships, and the shipper is refused within a moment.
    await page.getByRole('switch', { name: 'apac production enabled' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('Somebody still ships with it.').waitFor();
    await dialog.getByText('127.0.0.1').waitFor();
    await dialog.getByRole('button', { name: 'Disable token' }).click();
    await page.getByText('1 of 15').waitFor();
    await eventually('it is refused', () => shipper.refused > 0);
    // What was under way before the first refusal may be answered after it; nothing that is sent later is taken.
    const last = shipper.sent;
    await eventually('all that follows is refused', () => [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].every((ahead) => shipper.refusals.has(last + ahead)));

    // Enable: it ships on.
    const { accepted } = shipper;
    await page.getByRole('switch', { name: 'apac production enabled' }).click();
    await page.getByText('2 of 15').waitFor();
    await eventually('it is accepted again', () => shipper.accepted > accepted);

    // Delete.
    await page.getByRole('button', { name: 'Delete apac production' }).click();
    await dialog.getByText('Somebody still ships with it.').waitFor();
    await dialog.getByRole('button', { name: 'Delete token' }).click();
    await page.getByText('“apac production” is deleted.').waitFor();
    await page.getByRole('button', { name: 'Copy the token apac production' }).waitFor({ state: 'detached' });
    const atDeletion = shipper.refused;
    await eventually('it is refused for good', () => shipper.refused > atDeletion + 5);
    shipper.stop();

    // What was accepted stays.
    await page.goto('/#/explore?query=type:shipper&from=now-1d');
    await page.locator('.explore').waitFor();
    await found(page, 'all accepted logs are found', async () => Number((await page.locator('.count').getAttribute('title')).replace(/\D/g, '')) === shipper.accepted);
    console.log(`${shipper.accepted} accepted, ${shipper.refused} refused`);

    // Shared tokens are numbered as shipping tokens are.
    const shared = await page.evaluate(async () => {
        const create = (tokenName) => fetch('/v1/shared-tokens', { method: 'POST', headers: { 'X-Requested-With': 'shipgate', 'Content-Type': 'application/json' }, body: JSON.stringify({ tokenName, filters: [] }) });
        return [await (await create('one')).json(), await (await create('two')).json()];
    });
    const { results } = await page.evaluate(() => fetch('/v1/log-shipping/tokens/search', { method: 'POST', headers: { 'X-Requested-With': 'shipgate', 'Content-Type': 'application/json' }, body: '{}' }).then((answer) => answer.json()));
    assert.equal(shared[0].id, results[0].id);

    // Operations shows who goes on with it.
    await page.getByRole('link', { name: 'Operations' }).click();
    await page.getByText('still uses a deleted token').waitFor();
    // And who sends one that never was: the address, not the token.
    const unknown = 'NobodyMadeThisTokenEverAndNobodyWill'.slice(0, 32);
    await fetch(`${process.env.INGEST}/?token=${unknown}`, { method: 'POST', body: '{}' });
    await page.getByText('sends a token that nobody made').waitFor();
    assert.ok(!(await page.content()).includes(unknown), 'an unknown token is shown');
    await page.locator('.bars').getByText('Unknown or disabled token').waitFor();
    await page.getByRole('button', { name: /refused by .*: show why/ }).click();
    await page.getByRole('dialog', { name: /What .* refused/ }).getByText('Unknown or disabled token').waitFor();
    await page.keyboard.press('Escape');

    // The audit trail of that token, by a click on it; then asked for more.
    await page.locator('.offenders').getByRole('link', { name: 'apac production' }).click();
    await page.getByText('shipping-token.delete').first().waitFor();
    await page.getByText('No older entries.').waitFor();
    const actions = () => page.locator('tbody td[data-column="What"]').allTextContents();
    assert.deepEqual((await actions()).map((action) => action.replace('shipping-token.', '')), ['delete', 'enable', 'disable', 'rename', 'create']);
    await page.getByLabel('What').fill('rename');
    await page.keyboard.press('Enter');
    await eventually('one is left', async () => (await actions()).join() === 'shipping-token.rename');
    assert.match(page.url(), /what=rename&token=\d+/);
    assert.equal(await page.locator('tbody td[data-column="Change"]').innerText(), 'name apac prod → apac production');
    await page.getByLabel('Who').fill('nobody');
    await page.keyboard.press('Enter');
    await page.getByText('No entry matches').waitFor();
    await page.getByRole('button', { name: 'Clear' }).click();
    await page.getByText('session.create').first().waitFor();
    // Since when, in the address as the API takes it; what is no time is said.
    for (const since of ['now-7d', 'now-1h', '2026-01-31', '2026-01-31T12:00:00Z']) {
        await page.goto(`/#/operations/audit?what=session.create&since=${since}`);
        await page.locator('.bone').first().waitFor({ state: 'detached' });
        assert.equal(await page.getByLabel('Since').inputValue(), since);
        await page.getByText('session.create').first().waitFor();
    }
    for (const since of ['rubbish', '2026-02-31']) {
        await page.goto(`/#/operations/audit?since=${since}`);
        await page.getByRole('alert').getByText('since is no time').waitFor();
        await page.goto('/#/operations/audit');
        await page.getByText('session.create').first().waitFor();
    }

    // API tokens: shown once.
    await page.getByRole('link', { name: 'Manage tokens' }).click();
    await page.getByRole('link', { name: 'API tokens' }).click();
    await page.getByRole('button', { name: 'New API token' }).click();
    await page.getByLabel('Name', { exact: true }).fill('terraform');
    await page.getByRole('button', { name: 'Create token' }).click();
    await page.getByText('it is shown this once').waitFor();
    await page.getByRole('button', { name: 'Copy the API token' }).click();
    const apiToken = await clipboard(page);
    await page.getByRole('button', { name: 'I have copied it' }).click();
    const whoami = () => fetch(`${process.env.CONSOLE}/v2/whoami`, { headers: { 'X-API-TOKEN': apiToken } });
    assert.equal((await whoami()).status, 200);
    await page.getByRole('button', { name: 'Delete terraform' }).click();
    await page.getByRole('button', { name: 'Delete API token' }).click();
    await page.getByText('“terraform” is deleted.').waitFor();
    assert.equal((await whoami()).status, 403);

    // Out, and in again with the password.
    await page.getByRole('button', { name: /ada@example.com/ }).click();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await signIn(admin);
    await admin.leave();
});
