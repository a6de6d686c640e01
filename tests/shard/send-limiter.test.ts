import { expect, test } from 'vitest'
import { SendLimiter } from '../../src/shard/commands/send-limiter.ts'
import { seededRandom } from '../../src/base/index.ts'
import { FakeClock } from '../support/fake-clock.ts'

test('a burst of commands passes up to the reserve, then waits for the oldest to leave the window', async () => {
  const clock = new FakeClock()
  const limiter = new SendLimiter(clock)
  limiter.reset(41_250)
  let sent = 0
  while (limiter.waitMs() === 0) {
    limiter.record()
    sent++
    await clock.advance(10)
  }
  // 120 less two heartbeats a minute and three for op 1 and IDENTIFY.
  expect(sent).toBe(115)
  expect(limiter.waitMs()).toBe(60_000 - sent * 10)
  await clock.advance(limiter.waitMs())
  expect(limiter.waitMs()).toBe(0)
  limiter.record()
  expect(limiter.waitMs()).toBe(10)
})

test('with heartbeats in between never more than 120 sends lie in any 60 s', async () => {
  const clock = new FakeClock()
  const random = seededRandom(5)
  const limiter = new SendLimiter(clock)
  limiter.reset(5000)
  const sends: number[] = []
  for (let elapsed = 0; elapsed < 300_000; elapsed += 50) {
    if (elapsed % 5000 === 0) {
      limiter.record()
      sends.push(elapsed)
    }
    for (let want = Math.floor(random() * 4); want > 0 && limiter.waitMs() === 0; want--) {
      limiter.record()
      sends.push(elapsed)
    }
    await clock.advance(50)
  }
  for (const start of sends) {
    const within = sends.filter((at) => at >= start && at < start + 60_000).length
    expect(within).toBeLessThanOrEqual(120)
  }
  expect(sends.length).toBeGreaterThan(400)
})

test('however short the interval, commands keep half of the window', () => {
  const limiter = new SendLimiter(new FakeClock())
  limiter.reset(100)
  let sent = 0
  while (limiter.waitMs() === 0) {
    limiter.record()
    sent++
  }
  expect(sent).toBe(60)
})
