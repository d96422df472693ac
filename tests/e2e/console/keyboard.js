// An admin without a mouse.
'use strict';

const assert = require('node:assert/strict');
const { clipboard, play, setUp } = require('./browser.js');

const TABS_MAX = 60;

// Presses Tab until what has the focus is called `name`.
async function tabTo(page, name) {
    for (let tabs = 0; tabs < TABS_MAX; tabs += 1) {
        const found = await page.evaluate(() => {
            const element = document.activeElement;
            const label = element.getAttribute('aria-label') ?? element.labels?.[0]?.textContent ?? element.textContent;
            const { outlineStyle, outlineWidth } = getComputedStyle(element);
            return { label: label.trim(), visible: outlineStyle !== 'none' && outlineWidth !== '0px' };
        });
        if (found.label === name) {
            assert.ok(found.visible, `the focus on ${name} cannot be seen`);
            return;
        }
        await page.keyboard.press('Tab');
    }
    throw new Error(`Tab does not lead to ${name}`);
}

play(async (browser) => {
    const { admin, page } = await setUp(browser);
    const press = (keys) => page.keyboard.press(keys);

    // `/` goes to the search box, Esc out of it.
    await page.getByLabel('Search logs').first().waitFor();
    await press('/');
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Search logs');
    await press('Escape');

    // `?` tells the shortcuts, Esc closes them and gives the focus back.
    await press('?');
    await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor();
    await press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });

    // The way back leads away from a dialog, too.
    await page.goto('/#/settings/general');
    await page.getByRole('heading', { name: 'General' }).waitFor();
    await press('?');
    await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor();
    await page.goBack();
    await page.getByRole('dialog').waitFor({ state: 'detached' });

    // `g t` goes to the tokens; one is created, and copied.
    await press('g');
    await press('t');
    await page.getByRole('heading', { name: 'Manage tokens' }).waitFor();
    await page.getByText('1 of 15').waitFor();
    await tabTo(page, 'New log shipping token');
    await press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.type('by keyboard');
    await press('Enter');
    await page.getByText('2 of 15').waitFor();
    await tabTo(page, 'Copy the token by keyboard');
    await press('Enter');
    await page.getByText('Copied').first().waitFor();
    assert.match(await clipboard(page), /^[A-Za-z0-9]{32}$/);

    // Renamed in place: Esc leaves it as it was.
    await tabTo(page, 'Rename by keyboard');
    await press('Enter');
    await page.getByLabel('New name of by keyboard').waitFor();
    await page.keyboard.type('something else');
    await press('Escape');
    await tabTo(page, 'Rename by keyboard');

    // Switched off and on with the space bar; the focus stays where it is.
    await page.keyboard.press('Shift+Tab');
    await tabTo(page, 'by keyboard enabled');
    await press('Space');
    await page.getByText('1 of 15').waitFor();
    await tabTo(page, 'by keyboard enabled');
    await press('Space');
    await page.getByText('2 of 15').waitFor();

    // Deleted: the dialog's first choice is the harmless one.
    await tabTo(page, 'Delete by keyboard');
    await press('Enter');
    await page.getByRole('dialog').waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Cancel');
    await press('Tab');
    await press('Enter');
    await page.getByText('1 of 15').waitFor();

    // The way past the navigation.
    await page.goto('/#/settings/general');
    await page.reload();
    await page.getByRole('heading', { name: 'General' }).waitFor();
    await page.evaluate(() => document.querySelector('.skip').focus());
    await press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
    await admin.leave();
});
