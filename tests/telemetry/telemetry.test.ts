import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { BaseError, type Log, Secret } from '../../src/base/index.ts'
import { createLog, createMetrics } from '../../src/telemetry/index.ts'

function logged(isJson: boolean, write: (log: Log) => void): string {
  const folder = mkdtempSync(join(tmpdir(), 'gateway-log-'))
  try {
    const fd = openSync(join(folder, 'log'), 'w')
    write(createLog({ level: 'info', isJson, fd }))
    closeSync(fd)
    return readFileSync(join(folder, 'log'), 'utf8')
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('a line is a constant message and fields, as JSON or as text', () => {
  const write = (log: Log): void => log.child({ shardId: 3 }).info('shard is ready', { guilds: 7 })
  const line = JSON.parse(logged(true, write)) as Record<string, unknown>
  expect(line).toMatchObject({ level: 'info', msg: 'shard is ready', shardId: 3, guilds: 7 })
  expect(logged(false, write)).toMatch(/INFO.*shard is ready.*"shardId":3.*"guilds":7/)
})

test('below the level nothing is written', () => {
  expect(logged(true, (log) => log.debug('detail'))).toBe('')
})

test('secrets do not reach a line', () => {
  const text = logged(true, (log) =>
    log.warn('x', { a: new Secret('hunter2'), token: 'hunter2', config: { password: 'hunter2' } }),
  )
  expect(text).not.toContain('hunter2')
})

test('an error is its message and its causes, on one line', () => {
  const error = new BaseError('A_B', 'b broke.', {}, { cause: new Error('ECONNREFUSED') })
  const line = JSON.parse(logged(true, (log) => log.error('failed', { error }))) as {
    error: string
  }
  expect(line.error).toBe('[A_B] b broke. ← ECONNREFUSED')
})

test('counters and gauges are folded at the scrape', async () => {
  const metrics = createMetrics()
  const counter = metrics.counter('gateway_gaps_total', { cause: 'x' })
  counter.value += 2
  metrics.counter('gateway_gaps_total', { cause: 'y' }).value++
  let size = 1
  metrics.gauge('gateway_queue_events', () => size, { destination: 'redis' })
  size = 5
  const text = await metrics.render()
  expect(text).toContain('gateway_gaps_total{cause="x"} 2')
  expect(text).toContain('gateway_gaps_total{cause="y"} 1')
  expect(text).toContain('gateway_queue_events{destination="redis"} 5')
  counter.value++
  expect(await metrics.render()).toContain('gateway_gaps_total{cause="x"} 3')
})

test('a histogram is cumulative by upper bound, with sum and count', async () => {
  const metrics = createMetrics()
  const histogram = metrics.histogram('gateway_push_flush_seconds', [0.01, 0.1], {
    destination: 'a',
  })
  for (const value of [0.01, 0.05, 5]) histogram.observe(value)
  expect(metrics.histogram('gateway_push_flush_seconds', [0.01, 0.1], { destination: 'a' })).toBe(
    histogram,
  )
  const text = await metrics.render()
  expect(text).toContain('# TYPE gateway_push_flush_seconds histogram')
  expect(text).toContain('gateway_push_flush_seconds_bucket{destination="a",le="0.01"} 1')
  expect(text).toContain('gateway_push_flush_seconds_bucket{destination="a",le="0.1"} 2')
  expect(text).toContain('gateway_push_flush_seconds_bucket{destination="a",le="+Inf"} 3')
  expect(text).toContain('gateway_push_flush_seconds_sum{destination="a"} 5.06')
  expect(text).toContain('gateway_push_flush_seconds_count{destination="a"} 3')
})

test('series come and go with what is read at the scrape; names that end in _total are counters', async () => {
  const metrics = createMetrics()
  let shards = ['0', '1']
  metrics.series('gateway_shard_events_total', (add) => {
    for (const shard of shards) add(7, { shard })
  })
  expect(await metrics.render()).toContain('gateway_shard_events_total{shard="1"} 7')
  shards = ['0']
  const text = await metrics.render()
  expect(text).toContain('# TYPE gateway_shard_events_total counter')
  expect(text).not.toContain('shard="1"')
})

test('counters beyond a chunk keep their values, and sums beyond 2^31 stay exact', async () => {
  const metrics = createMetrics()
  const counters = Array.from({ length: 600 }, (_, event) =>
    metrics.counter('gateway_events_received_total', { event: String(event) }),
  )
  for (const [index, counter] of counters.entries()) counter.value += 2 ** 40 + index
  const text = await metrics.render()
  for (const index of [0, 255, 256, 599]) {
    expect(text).toContain(`gateway_events_received_total{event="${index}"} ${2 ** 40 + index}`)
  }
})
