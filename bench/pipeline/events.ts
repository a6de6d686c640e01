/** Scenarios that are one event and not a load: a storm of guilds, op 7 to all, a Redis that stops. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Report } from '../report.ts'
import type { PipelineFlags } from './flags.ts'
import { drained } from './slice.ts'
import { Stage } from './stage.ts'

const STORM_EVENTS = 1000

export async function runEvent(flags: PipelineFlags, report: Report): Promise<void> {
  const stage = await Stage.open(flags, flags.scenario === 'storm' ? 'guilds' : 'mixed', [
    'gateway',
  ])
  try {
    const gateway = await stage.contender('gateway')
    const group = 'gateway'
    const row = (name: string, unit: string, ours: number, limit: number, correct = true): void =>
      report.add({
        row: `${flags.scenario}: ${name}`,
        unit,
        ours,
        rival: null,
        rival_name: '',
        ratio: null,
        spread: [ours, ours],
        aim: limit === Infinity ? 'none' : `<= ${limit} ${unit}`,
        met: ours <= limit,
        correct,
      })
    if (flags.scenario === 'storm') {
      await stage.metrics()
      const before = gateway.child.cost()
      await stage.tell({ do: 'burst', group, events: STORM_EVENTS })
      const began = performance.now()
      let events = 0
      while (events < STORM_EVENTS * flags.shards && performance.now() - began < 120_000) {
        await sleep(250)
        const { sent } = await stage.tell({ do: 'state', group })
        events = sent
      }
      await sleep(2000)
      let { loopMaxMs, cacheRows } = await stage.metrics()
      for (let rows = -1; rows !== cacheRows; ) {
        rows = cacheRows
        await sleep(1000)
        const now = await stage.metrics()
        loopMaxMs = Math.max(loopMaxMs, now.loopMaxMs)
        cacheRows = now.cacheRows
      }
      const after = gateway.child.cost()
      const cpu =
        after.userSeconds + after.systemSeconds - before.userSeconds - before.systemSeconds
      const state = await stage.tell({ do: 'state', group })
      row('longest stall of the event loop', 'ms', loopMaxMs, 50, state.open === flags.shards)
      row('heartbeat late', 'ms', Math.max(0, state.heartbeatLateMs), 1000)
      row('CPU', 's', cpu, Infinity)
      row('rows', 'rows', cacheRows, Infinity, cacheRows > 0)
      row('lasted', 's', (performance.now() - began) / 1000 - 3, Infinity)
      return
    }
    await stage.watch(gateway)
    await stage.tell({ do: 'start', group, rate: flags.rate })
    await sleep(3000)
    if (flags.scenario === 'reconnect') {
      await stage.metrics()
      const { resumes: before } = await stage.tell({ do: 'state', group })
      const began = performance.now()
      await stage.tell({ do: 'reconnect', group })
      let resumes = 0
      while (resumes < flags.shards && performance.now() - began < 60_000) {
        await sleep(50)
        resumes = (await stage.tell({ do: 'state', group })).resumes - before
      }
      const seconds = (performance.now() - began) / 1000
      const { loopMaxMs } = await stage.metrics()
      const { sent, identifies } = await stage.tell({ do: 'stop', group })
      const isComplete = await drained(stage, gateway, 0, sent)
      row('all shards resumed', 's', seconds, Infinity, isComplete && resumes === flags.shards)
      row('longest stall of the event loop', 'ms', loopMaxMs, Infinity)
      row('identifies', '', identifies - flags.shards, 0)
    } else {
      stage.redis.freeze()
      await sleep(flags.bench.seconds * 1000)
      stage.redis.thaw()
      await sleep(3000)
      const { sent } = await stage.tell({ do: 'stop', group })
      let { gapEvents, parks } = await stage.metrics()
      const isComplete = await drained(stage, gateway, 0, sent - gapEvents)
      ;({ gapEvents, parks } = await stage.metrics())
      const { events } = await stage.ask({ do: 'state' })
      row('events lost', 'events', sent - events, flags.bench.seconds <= 10 ? 0 : gapEvents)
      row('events counted as gaps', 'events', gapEvents, Infinity, sent - events === gapEvents)
      row('parks', '', parks, Infinity, isComplete || gapEvents > 0)
      row('events sent', 'events', sent, Infinity)
    }
  } finally {
    await stage.close()
  }
}
