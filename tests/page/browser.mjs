// Opens the page in headless Chromium and says what it did.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const ARGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];
export const WAIT = { timeout: 60_000 };   // generous: what is waited for is a condition, never a time

/** Opens a page at `url` with the errors that its console showed. `close` ends the browser. */
export async function openPage(url) {
  const profile = await mkdtemp(join(tmpdir(), 'tickwire-page-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ARGS,
    ignoreHTTPSErrors: url.startsWith('https:'),   // nobody vouches for the certificate of a test
    viewport: { width: 1440, height: 900 } });
  const page = await context.newPage(), errors = [];
  page.on('console', (message) => { if (message.type() === 'error') errors.push(message.text()); });
  page.on('pageerror', (error) => errors.push(error.stack));
  await page.goto(url);
  return { page, errors, close: async () => { await context.close(); await rm(profile, { recursive: true, force: true }); } };
}
/** Waits until `condition` holds of `tickwire.state()`; returns the milliseconds that it took. */
export async function until(page, condition, argument) {
  const start = performance.now();
  await page.waitForFunction(`(${condition})(window.tickwire.state(), ${JSON.stringify(argument)})`, undefined, { ...WAIT, polling: 20 });   // not with the frames: a busy machine paints few
  return performance.now() - start;
}
export const state = (page) => page.evaluate(() => window.tickwire.state());

/** Starts a fake gateway on a port that the system chose. */
export async function startFake(instruments) {
  const script = fileURLToPath(new URL('fake_gateway.mjs', import.meta.url));
  const child = spawn(process.execPath, [script, '0', String(instruments)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(child.stdout, 'data');
  const [url] = /http:\S+/.exec(String(line));
  return { url, play: (path) => fetch(new URL(path, url), { method: 'POST' }), stop: () => child.kill() };
}
