import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { seededRandom } from '../../src/base/index.ts'
import { spawnTied } from '../support/server-process.ts'
import { KILLED_SINKS, type KilledSink } from './kill-sinks.ts'

/** More than one is a campaign: `KILL_SEEDS=25 npx vitest run tests/push/kill.test.ts`. */
const SEEDS = Number(process.env['KILL_SEEDS'] ?? '1')
const CHILD = fileURLToPath(new URL('./kill-child.ts', import.meta.url))

describe.each([
  { kind: 'redis-list', events: 8000, gatewayKills: 4, sinkKills: 2 },
  { kind: 'redis-stream', events: 8000, gatewayKills: 4, sinkKills: 2 },
  { kind: 'redis-marks', events: 8000, gatewayKills: 4, sinkKills: 2 },
  { kind: 'grpc-push', events: 4000, gatewayKills: 2, sinkKills: 1 },
  { kind: 'stdout', events: 4000, gatewayKills: 2, sinkKills: 0 },
])('$kind: the gateway killed with -9, and the sink where it keeps what it took', (given) => {
  const { kind, events, gatewayKills, sinkKills } = given
  let sink: KilledSink

  beforeAll(async () => {
    sink = await KILLED_SINKS[kind]!()
  })

  afterAll(() => sink.stop())

  test.each(Array.from({ length: SEEDS }, (_, index) => index + 1))(
    'at random points, seed %i: every event arrives, in order',
    { timeout: 120_000 },
    async (seed) => {
      const random = seededRandom(seed)
      const folder = mkdtempSync(join(tmpdir(), 'gateway-kill-'))
      await sink.forget()
      let acknowledged = 0
      const sinkTurns = async (): Promise<void> => {
        for (let kills = 0; sink.kill !== null && kills < sinkKills; kills++) {
          await pause(200 + random() * 1500)
          await sink.kill()
          await pause(random() * 1000)
          await sink.start()
        }
      }
      const sinkIsThere = sinkTurns()
      for (let run = 0; run <= gatewayKills; run++) {
        const args = [kind, sink.address, folder, String(acknowledged + 1), String(events)]
        const child = spawnTied(process.execPath, [CHILD, ...args], {
          cwd: tmpdir(),
          env: { NO_COLOR: '1' },
          deathSignal: 'SIGKILL',
        })
        sink.begin(child.stdout!)
        const lines = createInterface({ input: child.stderr! })
        lines.on('line', (line) => {
          if (/^\d+$/.test(line)) acknowledged = Math.max(acknowledged, Number(line))
        })
        const read = new Promise((resolve) => lines.once('close', resolve))
        const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
        if (run < gatewayKills) {
          // Not while it still starts, however slow that is; but Redis may be away just then.
          const begun = new Promise((resolve) => lines.once('line', resolve))
          await Promise.race([begun, pause(1000), ended])
          await Promise.race([pause(random() * 500), ended])
          child.kill('SIGKILL')
          await ended
        } else {
          await sinkIsThere
          expect(await ended).toBe(0)
        }
        await read
      }
      rmSync(folder, { recursive: true })
      await sink.expectAll(events)
    },
  )
})

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
