import { describe, expect, test } from 'vitest'
import { freshDatabase } from '../support/postgres.ts'
import type { Program } from '../support/program.ts'
import { sharedRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import {
  queryRows,
  readLists,
  startDiscord,
  startGateway,
  storedSequences,
  untilQuiet,
  untilReady,
} from './run.ts'

const SHARDS = 2

describe.concurrent('killed with -9 as soon as the session of a READY is stored', () => {
  test.for([21, 22, 23, 24])(
    'no guild is taken for one that was joined, and no stored session is lost (seed %i)',
    { timeout: 90_000 },
    async (seed) => {
      const redis = sharedRedis()
      const database = await freshDatabase()
      const sim = await startDiscord({
        shards: SHARDS,
        guilds: 40,
        membersMax: 300,
        rate: 0,
        seed,
      })
      const gateways: Program[] = []
      const start = (): Program => {
        const gateway = startGateway(sim, [
          `-psql=${database.url}`,
          `-redis=${redis.url}`,
          `-redis-prefix=${redis.prefix}`,
        ])
        gateways.push(gateway)
        return gateway
      }
      try {
        const first = start()
        await first.line('started')
        const stored = async (): Promise<number[]> =>
          (
            await queryRows<{ shard: number }>(
              database.url,
              'select shard from gateway_sessions where session_id is not null',
            )
          ).map(({ shard }) => shard)
        await until(async () => (await stored()).length > 0, { timeoutMs: 20_000 })
        first.kill('SIGKILL')
        await first.exited
        const shards = await stored()
        const identifies = sim.ledger.identifies.filter(({ shard }) => shards.includes(shard))
        expect(identifies).toHaveLength(shards.length)

        const second = start()
        await untilReady(second, SHARDS)
        await untilQuiet(sim, async () => {
          const sequences = await storedSequences(database.url)
          // A session that was not stored has a successor.
          for (const { id, reader, sequence } of sim.sessions) {
            if (reader === null) sequences.set(id, sequence)
          }
          return sequences
        })
        expect(await second.stop()).toEqual({ code: 0, signal: null })

        expect(sim.ledger.identifies.filter(({ shard }) => shards.includes(shard))).toEqual(
          identifies,
        )
        // The second process waited out the 5 s of what the first one had sent.
        expect(new Set(sim.ledger.identifies.map(({ outcome }) => outcome))).toEqual(
          new Set(['ready']),
        )
        const resumed = sim.ledger.resumes.filter(({ outcome }) => outcome === 'resumed')
        expect(new Set(resumed.map(({ shard }) => shard))).toEqual(new Set(shards))
        const lists = await readLists(redis.url, redis.prefix)
        expect(lists.get(`${redis.prefix}GUILD_CREATE`) ?? []).toEqual([])
        const membership = await queryRows<{ id: string; state: string }>(
          database.url,
          'select id::text, state from guilds_persistent',
        )
        const guildIds = [0, 1].flatMap((shard) => sim.world.guildIds(shard, SHARDS))
        expect(new Map(membership.map(({ id, state }) => [id, state]))).toEqual(
          new Map(guildIds.map((id) => [id.toString(), 'present'])),
        )
        expect(
          await queryRows(
            database.url,
            'select shard, is_membership_filled as filled from gateway_sessions order by shard',
          ),
        ).toEqual([0, 1].map((shard) => ({ shard, filled: true })))
      } finally {
        for (const gateway of gateways) gateway.kill('SIGKILL')
        await Promise.all(gateways.map((gateway) => gateway.exited))
        await sim.stop()
        await database.drop()
      }
    },
  )
})
