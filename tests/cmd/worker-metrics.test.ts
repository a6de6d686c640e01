import { expect, test } from 'vitest'
import { joinMetrics } from '../../cmd/gateway/worker-metrics.ts'

const page = (value: number): string =>
  [
    '# HELP gateway_shards Shards.',
    '# TYPE gateway_shards gauge',
    `gateway_shards{state="ready"} ${value}`,
    '# HELP up_seconds Time.',
    '# TYPE up_seconds gauge',
    `up_seconds ${value}`,
    '',
  ].join('\n')

test('the page of several workers has each family once, and each series with its worker', () => {
  const joined = joinMetrics([
    { worker: 'w1', page: page(1) },
    { worker: 'w2', page: page(2) },
    { worker: 'w3', page: null },
  ])
  expect(joined.split('\n')).toEqual([
    '# HELP gateway_shards Shards.',
    '# TYPE gateway_shards gauge',
    'gateway_shards{worker="w1",state="ready"} 1',
    'gateway_shards{worker="w2",state="ready"} 2',
    '# HELP up_seconds Time.',
    '# TYPE up_seconds gauge',
    'up_seconds{worker="w1"} 1',
    'up_seconds{worker="w2"} 2',
    '# HELP gateway_worker_up 1 when the worker answered this scrape; of the parent of -workers.',
    '# TYPE gateway_worker_up gauge',
    'gateway_worker_up{worker="w1"} 1',
    'gateway_worker_up{worker="w2"} 1',
    'gateway_worker_up{worker="w3"} 0',
    '',
  ])
})
