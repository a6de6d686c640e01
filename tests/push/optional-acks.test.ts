import { expect, test } from 'vitest'
import { OptionalAcks } from '../../src/push/index.ts'
import { AckMarks } from '../../src/shard/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { type LogLine, recordedLog } from './redis-subject.ts'

function opened() {
  const clock = new FakeClock()
  const marks = new AckMarks(2)
  const lines: LogLine[] = []
  const acks = { direct: marks.lane(), afterCache: marks.lane() }
  const optional = new OptionalAcks({ destination: 'x', acks, clock, log: recordedLog(lines) })
  const take = (shardId: number, position: number): void => {
    optional.lanes.direct.submit(shardId, position)
    marks.receive(shardId, position)
  }
  return { clock, marks, lines, optional, take, done: optional.lanes.direct }
}

test('while it accepts events, what it has not accepted is not acknowledged', async () => {
  const { clock, marks, take, done, lines } = opened()
  for (let position = 1; position <= 60; position++) {
    take(0, position)
    await clock.advance(1000)
    if (position > 3) done.done(0, position - 3)
  }
  expect(marks.acknowledged(0)).toBe(57)
  expect(lines).toEqual([])
})

test('a shard of which it accepts nothing for 10 s is acknowledged without it', async () => {
  const { clock, marks, take, done, lines } = opened()
  take(0, 1)
  take(0, 2)
  await clock.advance(9000)
  expect(marks.acknowledged(0)).toBe(0)
  take(1, 1)
  await clock.advance(2000)
  expect([marks.acknowledged(0), marks.acknowledged(1)]).toEqual([2, 0])
  take(0, 3)
  expect(marks.acknowledged(0)).toBe(3)
  done.done(1, 1)
  expect(marks.acknowledged(1)).toBe(1)
  expect(lines.map(({ level }) => level)).toEqual(['warn'])
})

test('once it accepts again, it holds what comes then', async () => {
  const { clock, marks, take, done, lines } = opened()
  take(0, 1)
  await clock.advance(11_000)
  take(0, 2)
  done.done(0, 2)
  take(0, 3)
  expect(marks.acknowledged(0)).toBe(2)
  await clock.advance(1000)
  expect(lines.map(({ level }) => level)).toEqual(['warn', 'info'])
  done.done(0, 3)
  expect(marks.acknowledged(0)).toBe(3)
})

test('has no timer while nothing is open, nor after it was closed', async () => {
  const { clock, take, done, optional } = opened()
  take(0, 1)
  done.done(0, 1)
  await clock.advance(1000)
  expect(clock.timerCount).toBe(0)
  take(0, 2)
  expect(clock.timerCount).toBe(1)
  optional.close()
  expect(clock.timerCount).toBe(0)
})
