// The things that a healthy demo never does, played by the fake gateway: the page must say so at once and never show a dead price as live.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openPage, startFake, state, until, WAIT } from './browser.mjs';

let fake, opened, page;
before(async () => {
  fake = await startFake(60);
  opened = await openPage(fake.url);
  ({ page } = opened);
  await until(page, live);
});
after(async () => { await opened?.close(); fake?.stop(); });

const live = (now) => now.connection === 'live' && now.rows.length > 0 && now.rows.every((row) => !row.stale) && now.book.verified;
const allDead = (now) => now.rows.every((row) => row.stale) && !now.book.verified;
const bannerSays = (words) => page.waitForFunction((words) => document.querySelector('#banner').textContent.includes(words), words, WAIT);

test('a halted instrument is marked and stays undimmed', async () => {
  await fake.play('/fake/halt');
  await until(page, (now) => now.rows.filter((row) => row.trading === 'halted').length === 3);
  const halted = (await state(page)).rows.find((row) => row.trading === 'halted');
  assert.equal(halted.stale, false);
  await page.waitForFunction((symbol) => document.querySelector(`.row[data-symbol="${symbol}"] .tag`)?.textContent === 'halted', halted.symbol, WAIT);
  await fake.play('/fake/halt');
  await until(page, (now) => now.rows.every((row) => row.trading === 'open'));
});

test('a gap in the book breaks it, and it heals by asking again', async () => {
  const { gaps } = await state(page);
  await fake.play('/fake/bookgap');
  await until(page, (now, before) => now.gaps === before + 1, gaps);
  await until(page, live);
});

test('wrong checksums break the book for as long as they last', async () => {
  await fake.play('/fake/corrupt');
  await until(page, (now) => now.book.broken && !now.book.verified);
  await page.waitForFunction(() => document.querySelector('#book').classList.contains('dim') && document.querySelector('#book').dataset.broken === 'true', undefined, WAIT);
  await fake.play('/fake/corrupt');
  await until(page, live);
});

test('a lost connection is dead at once and comes back, with what the tape missed as a gap', async () => {
  const { gaps, totals } = await state(page);
  await fake.play('/fake/drain');
  await until(page, (now) => now.connection === 'reconnecting' && now.rows.every((row) => row.stale) && !now.book.verified);
  await bannerSays('draining');
  await until(page, live);
  await until(page, (now, before) => now.gaps > before, gaps);
  assert.equal((await state(page)).totals.silent, totals.silent);
  await page.waitForFunction(() => [...document.querySelectorAll('.print.lost')].some((line) => line.textContent.includes('(resume)')), undefined, WAIT);
});

test('an announced gap is listed, an unannounced one is called silent', async () => {
  const { gaps, totals } = await state(page);
  await fake.play('/fake/gap');
  await until(page, (now, before) => now.gaps >= before + 4, gaps);
  assert.equal((await state(page)).totals.silent, totals.silent);
  await fake.play('/fake/silentloss');
  await until(page, (now) => now.totals.silent > 0);
});

test('a quote that was announced as lost is stale until the next one', async () => {
  await fake.play('/fake/quotegap');
  await until(page, (now) => now.rows.filter((row) => row.quote_stale).length === 3);
  const lost = (await state(page)).rows.filter((row) => row.quote_stale);
  assert.ok(lost.every((row) => !row.stale), 'what else is known of it is not');
  await page.waitForFunction((symbol) => {
    const row = document.querySelector(`.row[data-symbol="${symbol}"]`);
    return row?.dataset.quoteStale === 'true' && getComputedStyle(row.querySelector('.bid')).opacity < 0.6 && row.querySelector('.age').textContent === 'stale';
  }, lost[0].symbol, WAIT);
  await page.waitForFunction(() => document.body.textContent.includes('events of the venue did not reach the ingester; the quote is stale until the next one'), undefined, WAIT);
  await fake.play('/fake/quoteback');
  await until(page, (now) => now.rows.every((row) => !row.quote_stale));
});

test('an instrument that ended leaves the list, and its number means the next one', async () => {
  const before = (await state(page)).rows, symbols = before.map((row) => row.symbol);
  await fake.play('/fake/end');
  await until(page, (now) => now.rows.some((row) => row.symbol.startsWith('sim:FRESH') && row.bid !== null));
  const { rows, totals } = await state(page), fresh = rows.find((row) => row.symbol.startsWith('sim:FRESH'));
  const [ended] = symbols.filter((symbol) => !rows.some((row) => row.symbol === symbol)), old = before.find((row) => row.symbol === ended);
  assert.equal(fresh.symbol, `sim:FRESH${ended.slice(4)}`);
  assert.ok(fresh.bid > 3 * old.bid, `${fresh.bid} is a price of its own, not ${old.bid}`);
  assert.equal(await page.locator(`.row[data-symbol="${ended}"]`).count(), 0);
  assert.equal(totals.undecodable, 0);
  assert.equal((await state(page)).connection, 'live');
});

test('the selected instrument ends: its book is not live', async () => {
  const { book } = await state(page);
  await fake.play('/fake/endbook');
  await until(page, (now, symbol) => !now.book.verified && !now.rows.some((row) => row.symbol === symbol), book.symbol);
  await page.waitForFunction(() => document.querySelector('#bookState').textContent === 'ended' && document.querySelector('#book').dataset.verified === 'false', undefined, WAIT);
  await page.locator('.row').first().click();
  await until(page, live);
});

test('a number that is granted twice ends the connection, and no price passes over', async () => {
  const { rows } = await state(page);
  await fake.play('/fake/twice');
  await bannerSays('the gateway granted one number twice');
  await until(page, live);
  assert.deepEqual((await state(page)).rows.map((row) => row.symbol).sort(), rows.map((row) => row.symbol).sort());
});

// The word that a feed is dead overtakes data: once, a page let rows live on that got such data.
test('a feed that is said to be dead dims every row, whatever data still arrives', async () => {
  await fake.play('/fake/down');
  await until(page, (now) => now.connection === 'stale' && now.feeds[0].state === 'down');
  await bannerSays('no heartbeat from the ingester');
  const { records } = await state(page);
  await until(page, (now, before) => now.records > before + 200, records);
  assert.ok(allDead(await state(page)));
  await fake.play('/fake/up');
  await until(page, live);
});

test('a book that nothing at its venue proves is not shown as verified', async () => {
  const shown = (text, verified) => page.waitForFunction(([text, verified]) => document.querySelector('#bookState').textContent === text && document.querySelector('#book').dataset.verified === verified, [text, verified], WAIT);
  await shown('✓ book verified', 'true');
  await fake.play('/fake/unproven');
  await shown('book not verifiable', 'false');
  assert.match(await page.locator('#bookState').getAttribute('title'), /^nothing that the venue sends proves its books/);
  assert.equal((await state(page)).connection, 'live');
  await fake.play('/fake/up');
  await shown('✓ book verified', 'true');
});

test('a mute gateway is noticed without any message', async () => {
  await fake.play('/fake/mute');
  await until(page, allDead);
  await bannerSays('Nothing is heard');
  await fake.play('/fake/mute');
  await until(page, live);
});

test('what comes late is called delayed and never live', async () => {
  await fake.play('/fake/delay');
  await page.waitForFunction(() => window.tickwire.state().delay_ms === 900_000 && window.tickwire.state().connection === 'live', undefined, WAIT);
  await bannerSays('Delayed 15 min');
  const shown = await page.evaluate(() => [document.querySelector('#connection').textContent, document.querySelector('#banner').dataset.tone]);
  assert.match(shown[0], /Delayed/);
  assert.equal(shown[1], 'warn');
  await page.waitForFunction(() => document.title.includes('delayed'), undefined, WAIT);
  await fake.play('/fake/delay');
  await page.waitForFunction(() => window.tickwire.state().delay_ms === 0 && window.tickwire.state().connection === 'live', undefined, WAIT);
  await until(page, live);
});

test('a session that must not be retried is not retried', async () => {
  await fake.play('/fake/refuse');
  await until(page, (now) => now.connection === 'closed' && now.rows.every((row) => row.stale));
  await bannerSays('1002 protocol');
  assert.equal(await page.locator('#retry').isVisible(), false);
});
