// Roles: somebody who is invited as a user searches and shares, and sees no shipping tokens.
'use strict';

const assert = require('node:assert/strict');
const { Person, clipboard, play, setUp, signIn } = require('./browser.js');

const GRACE = { email: 'grace@example.com', password: 'compilers are fine too' };

play(async (browser) => {
    const { admin, page } = await setUp(browser);
    await page.getByRole('link', { name: 'Users' }).click();
    await page.getByRole('button', { name: 'Invite user' }).click();
    await page.getByLabel('Email').fill(GRACE.email);
    await page.getByRole('button', { name: 'Make invitation' }).click();
    await page.getByRole('button', { name: 'Copy the link' }).click();
    const invitation = await clipboard(page);
    await page.getByRole('button', { name: 'Done' }).click();
    await page.getByText('invited').waitFor();

    const grace = await Person.arrive(browser);
    const hers = await grace.page();
    await hers.goto(invitation);
    await hers.getByLabel('Password').fill('short');
    await hers.getByRole('button', { name: /Set password/ }).click();
    await hers.getByText('Use at least 12 characters.').waitFor();
    await hers.getByLabel('Password').fill(GRACE.password);
    await hers.getByRole('button', { name: /Set password/ }).click();
    const places = hers.getByRole('navigation', { name: 'Main' });
    await places.waitFor();
    assert.deepEqual(await places.getByRole('link').allTextContents(), ['Explore']);

    // Not by the address either, nor by the API.
    await hers.goto('/#/settings/tokens/shipping');
    await hers.getByText('There is no such page').waitFor();
    const statuses = await hers.evaluate(() => Promise.all(
        ['/v1/log-shipping/tokens/limits', '/v1/api-tokens', '/v1/users', '/v1/gateways'].map((path) => fetch(path).then(({ status }) => status)),
    ));
    assert.deepEqual(statuses, [403, 403, 403, 403]);

    // She may save a view, and find it again.
    await hers.goto('/#/explore?query=level:error&from=now-1h');
    await hers.getByRole('button', { name: 'Views' }).click();
    await hers.getByRole('button', { name: 'Save this view' }).click();
    await hers.getByLabel('Name', { exact: true }).fill('Errors');
    await hers.getByRole('button', { name: 'Save view' }).click();
    await hers.getByText('“Errors” is saved.').waitFor();
    await hers.goto('/#/explore');
    await hers.getByRole('button', { name: 'Views' }).click();
    await hers.getByRole('link', { name: 'Errors' }).click();
    await hers.waitForURL(/level%3Aerror/);

    // The last admin stays one.
    await page.getByRole('link', { name: 'Explore' }).click();
    await page.getByRole('link', { name: 'Users' }).click();
    await page.getByRole('button', { name: 'Actions for ada@example.com' }).click();
    assert.equal(await page.getByRole('button', { name: /Make a user/ }).getAttribute('aria-disabled'), 'true');
    await page.keyboard.press('Escape');

    // Suspended: signed out at once. Let in again, she signs in with her password.
    await page.getByRole('button', { name: 'Actions for grace@example.com' }).click();
    await page.getByRole('button', { name: 'Suspend', exact: true }).click();
    await page.getByRole('dialog', { name: /Suspend/ }).getByRole('button', { name: 'Suspend' }).click();
    await page.getByText('grace@example.com is suspended.').waitFor();
    await hers.getByLabel('Search logs').press('Enter');
    await hers.getByRole('heading', { name: 'Sign in' }).waitFor();
    await page.getByRole('button', { name: 'Actions for grace@example.com' }).click();
    await page.getByRole('button', { name: 'Let in again' }).click();
    await page.getByText('may sign in again').waitFor();

    // A wrong password is refused without telling which half was wrong.
    await hers.getByLabel('Email').fill(GRACE.email);
    await hers.getByLabel('Password').fill('not her password');
    await hers.getByRole('button', { name: 'Sign in' }).click();
    await hers.getByText('Email and password do not match.').waitFor();
    await signIn(grace, GRACE);

    // An admin now, she sees the rest.
    await page.getByRole('button', { name: 'Actions for grace@example.com' }).click();
    await page.getByRole('button', { name: 'Make an admin' }).click();
    await page.getByText('grace@example.com is an admin now.').waitFor();
    await hers.goto('/#/settings/tokens/shipping');
    await hers.reload();
    await hers.getByText('1 of 15').waitFor();
    await grace.leave();
    await admin.leave();
});
