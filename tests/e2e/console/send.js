// What Send your data says to paste is pasted, and arrives.
'use strict';

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const { clipboard, play, setUp } = require('./browser.js');

// How each is run once it is pasted; of the others see ../test_snippets.py.
const SHIPPERS = [
    ['curl', 'hello from curl', (text) => execFileSync('bash', ['-c', text])],
    ['Python', 'hello from Python', (text) => execFileSync(process.env.PYTHON, ['-c', text])],
    ['Node.js', 'hello from Node.js', (text) => execFileSync('node', ['-e', text])],
];
const NAMES = [
    'curl', 'Filebeat', 'Fluent Bit', 'Fluentd', 'Logstash', 'Vector', 'OpenTelemetry Collector', 'rsyslog', 'syslog-ng',
    'Python', 'Node.js',
];

play(async (browser) => {
    const { admin, page } = await setUp(browser);
    await page.getByRole('link', { name: 'Send your data' }).click();
    const shippers = page.getByRole('navigation', { name: 'Shippers' });
    await shippers.waitFor();
    assert.deepEqual(await shippers.getByRole('link').allTextContents(), NAMES);
    for (const name of NAMES) {
        await shippers.getByRole('link', { name, exact: true }).click();
        await page.getByRole('heading', { name, exact: true }).waitFor();
        const told = (await page.locator('.snippet pre').allTextContents()).join('\n');
        assert.ok(told.includes(new URL(process.env.INGEST).port), `${name} is not told the listener`);
        assert.doesNotMatch(told, /undefined|NaN/, name);
    }
    for (const [name, message, run] of SHIPPERS) {
        await page.goto('/#/settings/general');
        // What arrives before the page hears of what arrives is seen all the same.
        let connected;
        const isSent = new Promise((resolve) => (connected = resolve));
        await page.route('**/v1/logs/tail*', (route) => isSent.then(() => route.continue()));
        await page.goto('/#/send');
        await page.getByText('Waiting for').waitFor();
        await shippers.getByRole('link', { name, exact: true }).click();
        await page.getByRole('heading', { name, exact: true }).waitFor();
        await page.getByRole('button', { name: `Copy the configuration for ${name}` }).click();
        run(await clipboard(page));
        connected();
        await page.getByText('First log received').first().waitFor();
        await page.locator('.arrival code').filter({ hasText: message }).waitFor();
        await page.unroute('**/v1/logs/tail*');
    }
    await page.getByRole('link', { name: 'Look at it in Explore' }).click();
    await page.getByText('hello from Node.js').first().waitFor();
    await admin.leave();
});
