import { expect, test } from 'vitest'
import { AckMarks } from '../../src/shard/ack-marks.ts'

test('nothing outstanding: what was received is acknowledged', () => {
  const marks = new AckMarks(2)
  marks.lane()
  marks.begin(0, 0)
  marks.receive(0, 1)
  marks.receive(0, 2)
  expect([marks.received(0), marks.acknowledged(0), marks.acknowledged(1)]).toEqual([2, 2, 0])
})

test('a lane holds back to what it has done, an idle lane holds back nothing', () => {
  const marks = new AckMarks(1)
  const cache = marks.lane()
  const queue = marks.lane()
  marks.begin(0, 0)
  for (const sequence of [1, 2, 3, 4, 5]) marks.receive(0, sequence)
  cache.submit(0, marks.position(0, 2))
  queue.submit(0, marks.position(0, 3))
  queue.done(0, marks.position(0, 3))
  expect(marks.acknowledged(0)).toBe(0)
  cache.submit(0, marks.position(0, 5))
  cache.done(0, marks.position(0, 2))
  expect(marks.acknowledged(0)).toBe(2)
  cache.done(0, marks.position(0, 5))
  expect(marks.acknowledged(0)).toBe(5)
})

test('after a take-over the session goes on at its stored sequence', () => {
  const marks = new AckMarks(1)
  marks.lane()
  marks.begin(0, 700)
  expect([marks.received(0), marks.acknowledged(0)]).toEqual([700, 700])
})

test('a late completion of an old session acknowledges nothing of the new one', () => {
  const marks = new AckMarks(1)
  const lane = marks.lane()
  marks.begin(0, 0)
  lane.submit(0, marks.position(0, 9))
  marks.receive(0, 9)
  const late = marks.position(0, 9)
  marks.begin(0, 0)
  lane.submit(0, marks.position(0, 3))
  marks.receive(0, 3)
  lane.done(0, late)
  expect([marks.received(0), marks.acknowledged(0)]).toEqual([3, 0])
  lane.done(0, marks.position(0, 3))
  expect(marks.acknowledged(0)).toBe(3)
})

test('marks only rise within a session', () => {
  const marks = new AckMarks(1)
  const lane = marks.lane()
  marks.begin(0, 0)
  lane.submit(0, marks.position(0, 5))
  marks.receive(0, 5)
  lane.done(0, marks.position(0, 5))
  lane.done(0, marks.position(0, 2))
  marks.receive(0, 4)
  expect([marks.received(0), marks.acknowledged(0)]).toEqual([5, 5])
})
