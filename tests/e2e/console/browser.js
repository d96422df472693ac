// Headless browsers at the console. Whatever a page complains about fails the scenario: a script's error, a violation of
// the Content-Security-Policy, an answer of the server's that says it broke.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { AxeBuilder } = require('@axe-core/playwright');
const { chromium } = require('playwright-core');

const { CONSOLE, INGEST, SETUP_LINK, SCREENSHOTS } = process.env;
// How long what is waited for may take on a slow machine with others at work; what is right is there long before.
const PATIENCE_MS = 60_000;
const ARGUMENTS = [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
];
const ADMIN = { email: 'ada@example.com', password: 'four words in a row' };
const DESK = { viewport: { width: 1360, height: 860 } };
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };

// A person with a browser of their own.
class Person {
    static async arrive(browser, options = {}) {
        const context = await browser.newContext({
            baseURL: CONSOLE,
            permissions: ['clipboard-read', 'clipboard-write'],
            ...DESK,
            ...options,
        });
        context.setDefaultTimeout(PATIENCE_MS);
        await context.addInitScript(() => {
            addEventListener('securitypolicyviolation', (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
        });
        return new Person(context);
    }

    constructor(context) {
        this.context = context;
        this.complaints = [];
    }

    async page() {
        const page = await this.context.newPage();
        page.on('pageerror', (error) => this.complaints.push(error.stack));
        page.on('console', (message) => {
            // Refusals are a matter of course, and looked at as answers, below.
            const isRefusal = message.text().startsWith('Failed to load resource');
            if (['error', 'warning'].includes(message.type()) && !isRefusal) this.complaints.push(message.text());
        });
        page.on('response', (response) => {
            const status = response.status();
            if (status >= 500 || status === 404) this.complaints.push(`${status} ${response.url()}`);
        });
        return page;
    }

    // Opens `view`, such as `/explore`, at its fragment.
    async open(view) {
        const page = await this.page();
        await page.goto(`/#${view}`);
        return page;
    }

    async leave() {
        assert.deepEqual(this.complaints, [], 'what the pages complained about');
        await this.context.close();
    }
}

// Becomes the first admin by the link that the server printed.
async function setUp(browser, options) {
    const admin = await Person.arrive(browser, options);
    const page = await admin.page();
    await page.goto(SETUP_LINK);
    await page.getByLabel('Email').fill(ADMIN.email);
    await page.getByLabel('Password').fill(ADMIN.password);
    await page.getByRole('button', { name: 'Create admin' }).click();
    await page.getByRole('navigation', { name: 'Main' }).waitFor();
    return { admin, page };
}

async function signIn(person, { email, password } = ADMIN) {
    const page = await person.page();
    await page.goto('/');
    await page.getByLabel('Email').fill(email);
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.locator('.nav').first().waitFor({ state: 'attached' });
    return page;
}

// Whatever moves or fades has arrived.
const settled = (page) => page.evaluate(() => Promise.allSettled(document.getAnimations().filter((each) => each.effect.getTiming().iterations === 1).map((each) => each.finished)));

// Nothing that would keep somebody from using the page.
async function accessible(page, name) {
    await settled(page);
    // One log is like the other.
    const { violations } = await new AxeBuilder({ page }).exclude('.rows tbody tr:nth-child(n + 12)').analyze();
    const bad = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
    const told = bad.map(({ id, help, nodes }) => `${id}: ${help}\n  ${nodes.map((node) => node.html).join('\n  ')}`);
    assert.deepEqual(told, [], `what axe found at ${name}`);
}

async function picture(page, name) {
    fs.mkdirSync(SCREENSHOTS, { recursive: true });
    await page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`) });
}

// Ships `logs` with `token`, as curl does. A token that was made this moment may not be known yet.
async function ship(token, logs) {
    const body = logs.map((log) => JSON.stringify(log)).join('\n');
    await eventually('the logs are taken', async () => {
        const response = await fetch(`${INGEST}/?token=${token}&type=e2e`, { method: 'POST', body });
        const text = await response.text();
        assert.ok([200, 401].includes(response.status), text);
        return response.status === 200;
    });
}

// Asks until `check` gives something true, and returns that.
async function eventually(what, check) {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
        const found = await check();
        if (found) return found;
        if (Date.now() > deadline) throw new Error(`not within ${PATIENCE_MS} ms: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

// Searches in Explore until `check` gives something true. An answer is waited for, not overtaken by the next question.
async function found(page, what, check) {
    await eventually(what, async () => {
        await page.locator('.stale').first().waitFor({ state: 'detached' });
        if (await check()) return true;
        await page.getByLabel('Search logs').press('Enter');
        return false;
    });
}

const clipboard = (page) => page.evaluate(() => navigator.clipboard.readText());

// Runs `scenario(browser)` and ends the process with its outcome.
async function play(scenario) {
    const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ARGUMENTS });
    try {
        await scenario(browser);
    } catch (failure) {
        for (const [at, page] of browser.contexts().flatMap((context) => context.pages()).entries()) {
            await picture(page, `failed-${path.basename(process.argv[1], '.js')}-${at}`).catch(() => {});
        }
        console.error(failure);
        process.exitCode = 1;
    } finally {
        await browser.close();
    }
}

module.exports = { ADMIN, DESK, PHONE, Person, accessible, clipboard, eventually, found, picture, play, setUp, settled, ship, signIn };
