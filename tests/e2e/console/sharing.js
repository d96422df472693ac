// A filtered view, shared: opened by somebody without an account, changed by a change of the filter, ended by a deletion.
'use strict';

const assert = require('node:assert/strict');
const { Person, accessible, clipboard, eventually, found, play, setUp, ship } = require('./browser.js');

const LOGS = ['test', 'prod', 'prod'].map((env, at) => ({ env, level: 'info', service: `service-${at}`, message: `log of ${env} ${at}`, secret: `only-${env}` }));

async function addFilter(page, field, value, description) {
    await page.getByRole('button', { name: 'Add filter' }).click();
    await page.getByLabel('Description').fill(description);
    await page.getByLabel('Field', { exact: true }).fill(field);
    await page.getByLabel('Value').fill(value);
    await page.getByRole('dialog').getByRole('button', { name: 'Add filter' }).click();
    await page.getByRole('cell', { name: value, exact: true }).waitFor();
}

async function chooseFilters(page, ...names) {
    await page.getByRole('dialog').locator('summary').click();
    for (const box of await page.getByRole('dialog').getByRole('checkbox').all()) await box.uncheck();
    for (const name of names) await page.getByRole('checkbox', { name }).check();
}

const shown = (page) => page.locator('tr.log').allTextContents();

play(async (browser) => {
    const { admin, page } = await setUp(browser);
    const settings = await page.evaluate(() => fetch('/v1/account-management/settings').then((answer) => answer.json()));
    await ship(settings.defaultToken.token, LOGS);

    // Filters and a shared token, by clicking.
    await page.goto('/#/settings/tokens/shared');
    await page.getByText('No filters yet').waitFor();
    await addFilter(page, 'env', 'test', 'Only test');
    await addFilter(page, 'env', 'prod', 'Only prod');
    await page.getByRole('button', { name: 'Add shared token' }).click();
    await page.getByLabel('Name', { exact: true }).fill('partner');
    await page.getByText('Without a filter its links show all').waitFor();
    await page.getByLabel('Expires').fill(new Date().toISOString().slice(0, 10));
    await page.getByRole('dialog').getByRole('button', { name: 'Add shared token' }).click();
    await page.getByText('Choose a day to come.').waitFor();
    await page.getByLabel('Expires').fill('');
    await chooseFilters(page, /Only test/);
    await page.getByRole('dialog').getByRole('button', { name: 'Add shared token' }).click();
    await page.getByText('“partner” is added.').waitFor();

    // A view of everything, with columns, shared with that token.
    await page.goto('/#/explore?query=message:log&columns=env,message');
    await found(page, 'all logs are found', async () => (await shown(page)).length === LOGS.length);
    await page.getByRole('button', { name: 'Share' }).click();
    await page.getByRole('radio', { name: /partner/ }).check();
    await accessible(page, 'the Share dialog');
    await page.getByRole('button', { name: 'Copy link' }).click();
    const link = await clipboard(page);
    assert.match(link, /\/\?embed=true&shareToken=\w+#\/explore\?.*from=now-15m/);
    await page.getByText('Snapshot: stands still').click();
    const snapshot = await page.getByLabel('Link').inputValue();
    assert.match(snapshot, /from=\d{4}-\d\d-\d\dT/);
    await page.getByRole('button', { name: 'Close' }).click();

    // Somebody without an account, in another browser.
    const recipient = await Person.arrive(browser);
    const theirs = await recipient.page();
    await theirs.goto(link);
    await theirs.getByRole('heading', { name: 'Explore' }).waitFor({ state: 'attached' });
    await eventually('the log of test is shown', async () => (await shown(theirs)).length === 1);
    assert.match((await shown(theirs))[0], /log of test 0/);
    assert.equal(await theirs.getByRole('navigation').count(), 0, 'a recipient sees a navigation');
    assert.equal(await theirs.getByRole('button', { name: 'Share' }).count(), 0);
    await theirs.getByText('1 log', { exact: true }).waitFor();
    await accessible(theirs, 'a shared view');

    // What narrows a query can be reached without a mouse.
    await theirs.locator('[data-key="field-env"]').focus();
    await theirs.keyboard.press('Enter');
    await theirs.keyboard.press('Tab');
    await theirs.keyboard.press('Tab');
    assert.equal(await theirs.evaluate(() => document.activeElement.title), 'Only env: test');

    // No way to more: not by searching, not by the field list, not by the API.
    await theirs.getByLabel('Search logs').fill('env:prod');
    await theirs.getByLabel('Search logs').press('Enter');
    await theirs.getByRole('heading', { name: 'No logs found' }).waitFor();
    await theirs.getByLabel('Search logs').fill('');
    await theirs.getByLabel('Search logs').press('Enter');
    await eventually('the log of test is shown again', async () => (await shown(theirs)).length === 1);
    assert.doesNotMatch(await theirs.locator('body').innerText(), /only-prod|log of prod/);

    // Another filter: the link that was sent shows something else.
    await page.goto('/#/settings/tokens/shared');
    await page.getByRole('button', { name: 'Edit partner and its filters' }).click();
    await chooseFilters(page, /Only prod/);
    await page.getByRole('button', { name: 'Save changes' }).click();
    await page.getByText('“partner” is saved.').waitFor();
    await eventually('the logs of prod are shown by themselves', async () => (await shown(theirs)).length === 2);
    assert.doesNotMatch((await shown(theirs)).join(), /log of test/);

    // A filter that goes suspends the token, and says so beforehand.
    await page.getByRole('button', { name: 'Delete the filter Only prod' }).click();
    await page.getByRole('dialog').getByText('“partner” uses it.').waitFor();
    await page.getByRole('button', { name: 'Delete filter' }).click();
    await page.locator('.badge').getByText('suspended').waitFor();
    await theirs.getByRole('heading', { name: 'This link shows nothing at the moment' }).waitFor();

    // Another name opens nothing; nor does another token without filters, before it is confirmed.
    const dialog = page.getByRole('dialog');
    await page.getByRole('button', { name: 'Edit partner and its filters' }).click();
    await dialog.getByText('It is suspended').waitFor();
    await page.getByLabel('Name', { exact: true }).fill('partner two');
    await page.getByRole('button', { name: 'Save changes' }).click();
    await page.getByText('“partner two” is saved.').waitFor();
    await page.locator('.badge').getByText('suspended').waitFor();
    await page.getByRole('button', { name: 'Edit partner two and its filters' }).click();
    await page.getByLabel('Name', { exact: true }).fill('partner');
    await page.getByRole('button', { name: 'Save changes' }).click();
    await page.getByText('“partner” is saved.').waitFor();
    await page.getByRole('button', { name: 'Add shared token' }).click();
    await page.getByLabel('Name', { exact: true }).fill('open to all');
    await dialog.getByRole('button', { name: 'Add shared token' }).click();
    await dialog.getByText('Share everything with “open to all”?').waitFor();
    await page.keyboard.press('Escape');
    await dialog.getByText('Share everything').waitFor({ state: 'detached' });
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    assert.equal(await page.getByRole('cell', { name: 'open to all' }).count(), 0, 'a token without filters was saved unasked');
    await theirs.reload();
    await theirs.getByRole('heading', { name: 'This link shows nothing at the moment' }).waitFor();

    await page.getByRole('button', { name: 'Edit partner and its filters' }).click();
    await chooseFilters(page, /Only test/);
    await page.getByRole('button', { name: 'Save changes' }).click();
    await eventually('the log of test is back by itself', async () => (await shown(theirs)).length === 1);

    // Live: a new log of test comes by itself, one of prod does not.
    await theirs.getByRole('button', { name: 'Live tail' }).click();
    await ship(settings.defaultToken.token, [{ env: 'prod', message: 'log of prod live' }, { env: 'test', message: 'log of test live' }]);
    await theirs.getByText('log of test live').waitFor();
    await eventually('each log is shown once', async () => (await shown(theirs)).length === 2);
    assert.doesNotMatch((await shown(theirs)).join(), /log of prod/);

    // Deleted: the open page dies, and the link does.
    await page.getByRole('button', { name: 'Delete partner' }).click();
    await page.getByRole('dialog').getByText('Every link made with it ends at once').waitFor();
    await page.getByRole('button', { name: 'Delete shared token' }).click();
    await page.getByText('“partner” is deleted').waitFor();
    await theirs.getByText('This link is no longer valid').waitFor();
    await theirs.goto('about:blank');
    await theirs.goto(link);
    await theirs.getByText('This link is no longer valid').waitFor();
    await accessible(theirs, 'a link that is over');
    await recipient.leave();
    await admin.leave();
});
