// The page against a running `tickwire demo` (TICKWIRE_DEMO_URL), or against the fake gateway when there is none.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { openPage, startFake, state, until, WAIT } from './browser.mjs';

let fake, base;
before(async () => {
  base = process.env.TICKWIRE_DEMO_URL;
  if (base) return;
  fake = await startFake(120);
  base = fake.url;
  console.log('TICKWIRE_DEMO_URL is not set: the fake gateway plays the demo');
});
after(() => fake?.stop());

for (const encoding of ['proto', 'json']) {
  describe(`the page in ${encoding}`, () => {
    let opened, page;
    before(async () => {
      opened = await openPage(`${base.replace(/\/$/, '')}/?encoding=${encoding}`);
      ({ page } = opened);
      await until(page, (now) => now.connection === 'live' && now.rows.some((row) => row.bid !== null));
    });
    after(() => opened?.close());

    test('prices move', async () => {
      const { rows } = await state(page), before = Object.fromEntries(rows.map((row) => [row.symbol, row.bid]));
      await until(page, (now, old) => now.rows.some((row) => row.symbol in old && row.bid !== old[row.symbol]), before);
      const shown = await page.locator('.row .bid').first().textContent();
      assert.match(shown, /\d/);
    });

    test('the ladder is verified by checksums and follows the selection', async () => {
      await page.locator('#scroll').focus();
      await page.keyboard.press('ArrowDown');
      const symbol = await page.locator('.row[aria-selected=true]').getAttribute('data-symbol');
      await until(page, (now, wanted) => now.book.symbol === wanted && now.book.verified, symbol);
      const { book } = await state(page);
      assert.equal(book.broken, false);
      assert.ok(book.bids > 0 && book.asks > 0, 'levels on both sides');
      await page.waitForFunction(() => document.querySelector('#book').dataset.verified === 'true', undefined, WAIT);
    });

    test('the filter narrows the list', async () => {
      const symbol = await page.locator('.row').last().getAttribute('data-symbol');
      await page.keyboard.press('/');
      await page.keyboard.type(symbol);
      await page.waitForFunction((wanted) => [...document.querySelectorAll('.row')].every((row) => row.dataset.symbol.includes(wanted)), symbol, WAIT);
      await page.keyboard.press('Escape');
      await page.waitForFunction(() => document.querySelectorAll('.row').length > 1, undefined, WAIT);
    });

    test('a frozen feed dims every row, and a resumed one brings all back', async () => {
      const { session } = await state(page);
      await page.click('#freeze');
      const dead = await until(page, (now) => now.connection === 'stale' && now.rows.every((row) => row.stale));
      console.log(`${encoding}: every row was stale ${dead.toFixed(0)} ms after the freeze (a heartbeat is ${session.heartbeat_ms} ms)`);
      await page.waitForFunction(() => [...document.querySelectorAll('.row')].every((row) => row.dataset.stale === 'true' && getComputedStyle(row.querySelector('.bid')).opacity < 0.6), undefined, WAIT);
      await page.waitForFunction(() => /stale \d/.test(document.querySelector('.row .age').textContent), undefined, WAIT);
      await page.waitForFunction(() => document.querySelector('#book').matches('.dim[data-stale=true]'), undefined, WAIT);
      assert.equal((await state(page)).book.verified, false, 'a dead book is not shown as verified');

      await page.click('#resume');
      const live = await until(page, (now) => now.connection === 'live' && now.rows.every((row) => !row.stale));
      console.log(`${encoding}: all live again ${live.toFixed(0)} ms after the resume`);
      await page.waitForFunction(() => [...document.querySelectorAll('.row')].every((row) => row.dataset.stale === 'false'), undefined, WAIT);
    });

    test('nothing was undecodable, lost in silence, or printed as an error', async () => {
      const { totals } = await state(page);
      assert.equal(totals.undecodable, 0);
      assert.equal(totals.silent, 0);
      assert.deepEqual(opened.errors, []);
    });
  });
}
