import { expect, test } from 'vitest'
import { Heartbeat } from '../../src/shard/heartbeat.ts'
import { FakeClock } from '../support/fake-clock.ts'

function beating(random = 0.5): { clock: FakeClock; heartbeat: Heartbeat; log: string[] } {
  const clock = new FakeClock()
  const startedAt = clock.monotonic()
  const log: string[] = []
  const say = (what: string) => () => {
    log.push(`${what} ${clock.monotonic() - startedAt}`)
  }
  const callbacks = { onBeat: say('beat'), onZombie: say('zombie') }
  return { clock, heartbeat: new Heartbeat(clock, () => random, callbacks), log }
}

test('the first beat comes after a random part of the interval, the next ones after a whole one', async () => {
  const { clock, heartbeat, log } = beating(0.25)
  heartbeat.start(1000)
  await clock.advance(300)
  heartbeat.ack()
  await clock.advance(1000)
  heartbeat.ack()
  await clock.advance(900)
  expect(log).toEqual(['beat 250', 'beat 1250'])
})

test('no ACK between two beats is a zombie, said once', async () => {
  const { clock, heartbeat, log } = beating()
  heartbeat.start(1000)
  await clock.advance(5000)
  expect(log).toEqual(['beat 500', 'zombie 1500'])
  expect(clock.timerCount).toBe(0)
})

test('a late ACK within the interval keeps the connection', async () => {
  const { clock, heartbeat, log } = beating()
  heartbeat.start(1000)
  await clock.advance(1499)
  heartbeat.ack()
  await clock.advance(100)
  expect(log).toEqual(['beat 500', 'beat 1500'])
  expect(heartbeat.rttMs).toBe(999)
})

test('a loop that stood still may read the ACK before it calls the connection dead', async () => {
  const { clock, heartbeat, log } = beating()
  let late = 0
  const setTimeout = clock.setTimeout.bind(clock)
  clock.setTimeout = (fn, ms) => setTimeout(fn, ms + late)
  heartbeat.start(1000)
  await clock.advance(400)
  late = 3000
  await clock.advance(100)
  late = 0
  await clock.advance(4000)
  expect(log).toEqual(['beat 500'])
  heartbeat.ack()
  await clock.advance(1000)
  expect(log).toEqual(['beat 500', 'beat 5500'])
})

test('the grace is given once', async () => {
  const { clock, heartbeat, log } = beating()
  const setTimeout = clock.setTimeout.bind(clock)
  clock.setTimeout = (fn, ms) => setTimeout(fn, ms + 2000)
  heartbeat.start(1000)
  await clock.advance(60_000)
  expect(log).toEqual(['beat 2500', 'zombie 8500'])
})

test('stop() ends it, start() begins anew', async () => {
  const { clock, heartbeat, log } = beating()
  heartbeat.start(1000)
  await clock.advance(600)
  heartbeat.stop()
  await clock.advance(5000)
  expect(log).toEqual(['beat 500'])
  heartbeat.start(2000)
  await clock.advance(1000)
  expect(log).toEqual(['beat 500', 'beat 6600'])
})

test('an interval beyond what a timer can hold does not become a beat per millisecond', async () => {
  const { clock, heartbeat, log } = beating(1)
  heartbeat.start(1e12)
  await clock.advance(500_000)
  expect(log).toEqual([])
})
