import { Redis } from 'ioredis'
import { readTopMap } from '../../tests/e2e/checker/etf-term.ts'
import type { BenchFleet } from './fleet.ts'

/** Not pushed, or pushed for some guilds only. */
const NOT_COUNTED: ReadonlySet<string> = new Set([
  'READY',
  'RESUMED',
  'GUILD_CREATE',
  'GUILD_DELETE',
  'GUILD_MEMBERS_CHUNK',
])

/** How many events of the ledger are in no list. */
export async function missingEvents(fleet: BenchFleet, redisUrl: string): Promise<number> {
  const redis = new Redis(redisUrl)
  const seen = new Set<string>()
  for (const key of await redis.keys(`${fleet.prefix}*`)) {
    for (const value of await redis.lrangeBuffer(key, 0, -1)) {
      const map = readTopMap(value)
      seen.add(
        `${String(map.get('session_id')?.value as string)} ${String(map.get('s')?.value as number)}`,
      )
    }
  }
  redis.disconnect()
  let missing = 0
  for (const { session, s, t } of fleet.sim.ledger.events()) {
    if (!NOT_COUNTED.has(t) && !seen.has(`${session} ${s}`)) missing++
  }
  return missing
}
