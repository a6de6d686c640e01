/** A voice connection that outlasts the gateway's kill -9, by whatever worker comes next. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Sim } from '../../sim/index.ts'
import { freshDatabase, type FreshDatabase } from '../support/postgres.ts'
import type { Program } from '../support/program.ts'
import { until } from '../support/until.ts'
import { Backend } from '../server/commands-world.ts'
import { queryRows, startDiscord, startGateway, untilReady } from './run.ts'

const TOKEN = 'backend-secret-7'
const VOICE_CHANNEL = 2

let sim: Sim
let database: FreshDatabase
const gateways: Program[] = []

beforeAll(async () => {
  database = await freshDatabase()
  sim = await startDiscord({ shards: 1, guilds: 3, rate: 0, seed: 5 })
})

afterAll(async () => {
  for (const gateway of gateways) gateway.kill('SIGKILL')
  await Promise.all(gateways.map((gateway) => gateway.exited))
  await sim.stop()
  await database.drop()
})

async function start(podId: string): Promise<Backend> {
  const gateway = startGateway(sim, [
    `-psql=${database.url}`,
    '-redis=none',
    '-addr=127.0.0.1:0',
    `-podId=${podId}`,
    `-backend-token=${TOKEN}`,
    '-log-level=debug',
  ])
  gateways.push(gateway)
  await untilReady(gateway, 1)
  const { address } = (await gateway.line('serving gRPC')) as { address?: string }
  return new Backend(address!, TOKEN)
}

test('a voice connection is served after kill -9 by the next worker, and its token is in no log and no table', async () => {
  let backend = await start('a')
  let guilds: { id: string; channel: string }[] = []
  await until(async () => {
    guilds = await queryRows(
      database.url,
      `select guild_id::text as id, min(id)::text as channel from channels
where (data->>'type')::int = ${VOICE_CHANNEL} group by guild_id`,
    )
    return guilds.length > 0
  })
  const { channel } = guilds[0]!
  // The cache finds the guild of the channel.
  expect(await backend.call('UpdateVoiceState', { channel_id: channel })).toMatchObject({
    outcome: 'DONE',
  })
  const kept = (): Promise<Readonly<Record<string, unknown>>[]> =>
    backend.stream('GetVoiceConnections', {})
  await until(async () => (await kept()).length === 1, { timeoutMs: 10_000 })
  const [before] = await kept()
  const told = [...sim.ledger.events()].find(({ t }) => t === 'VOICE_SERVER_UPDATE')!
  const { token, endpoint, session_id } = before as Record<string, string>
  expect(told.d!.toString('latin1')).toContain(token)
  expect(told.d!.toString('latin1')).toContain(endpoint)
  backend.close()
  gateways[0]!.kill('SIGKILL')
  await gateways[0]!.exited

  backend = await start('b')
  // A replay of what was not acknowledged writes it once more.
  expect(await kept()).toEqual([{ ...before, updated_at: expect.any(String) as string }])
  const dump = JSON.stringify(await queryRows(database.url, 'select * from gateway_voice'))
  const secrets = [token!, session_id!, TOKEN]
  for (const { output } of gateways) {
    for (const secret of secrets) expect(output).not.toContain(secret)
  }
  expect(dump).not.toContain(token)
  expect(await backend.call('UpdateVoiceState', { guild_id: guilds[0]!.id })).toMatchObject({
    outcome: 'DONE',
  })
  await until(async () => (await kept()).length === 0)
  backend.close()
}, 60_000)
