/** `gateway migrate` as an operator runs it, and the gateway on what it made. */
import { readFileSync } from 'node:fs'
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startSim, type Sim } from '../../sim/index.ts'
import { freshDatabase, type FreshDatabase } from '../support/postgres.ts'
import { Program } from '../support/program.ts'
import { sharedRedis } from '../support/redis.ts'

let database: FreshDatabase
let sim: Sim
const programs: Program[] = []

beforeEach(async () => {
  ;[database, sim] = await Promise.all([
    freshDatabase(),
    startSim({ shards: 1, guilds: 3, maxConcurrency: 1 }),
  ])
  await run(readFileSync(new URL('../cache/fixtures/ancestor.sql', import.meta.url), 'utf8'))
})

afterEach(async () => {
  for (const program of programs.splice(0)) {
    program.kill('SIGKILL')
    await program.exited
  }
  await sim.stop()
  await database.drop()
})

async function run(sql: string): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  try {
    return await client.query(sql)
  } finally {
    await client.end()
  }
}

async function gateway(...argv: string[]): Promise<{ code: number | null; output: string }> {
  const program = new Program('cmd/gateway/main.ts', argv, { DISCORD_TOKEN: sim.token })
  const { code } = await program.exited
  return { code, output: program.output }
}

test('from the plan to the running gateway, and back', async () => {
  const redis = sharedRedis()
  const options = [
    '-prod',
    '-addr=none',
    '-http=none',
    `-psql=${database.url}`,
    `-redis=${redis.url}`,
    `-redis-prefix=${redis.prefix}`,
    `-discord-api=${sim.apiUrl}`,
  ]
  const shown = await gateway('migrate', `-psql=${database.url}`)
  expect(shown.code).toBe(0)
  expect(shown.output).toMatch(/set members LOGGED.*holds up readers and writers/)
  expect(shown.output).toContain('Nothing was changed')
  // Postgres has not looked at them: it knows no number, which is not none.
  expect(shown.output).toMatch(/members +rows not counted yet/)
  expect(shown.output).not.toContain('about 0 rows')
  expect(shown.output).not.toContain(new URL(database.url).password || 'no password here')

  const done = await gateway('migrate', `-psql=${database.url}`, '-yes')
  expect(done.output).toContain('Adopted.')
  expect(done.code).toBe(0)

  const unsaid = await gateway(...options)
  expect(unsaid.code).toBe(1)
  expect(unsaid.output).toContain('[CONFIG_ENCODING_UNSAID]')
  expect(unsaid.output).toContain('-encoding json')

  // One guild of the simulator is one that the ancestor knew: it is no join.
  const known = String(sim.world.guildIds(0, 1)[0]!)
  await run(
    `insert into guilds (id, data) values (${known}, '{}'); insert into guilds_persistent (id) values (${known})`,
  )
  const running = new Program('cmd/gateway/main.ts', [...options, '-encoding=json'], {
    DISCORD_TOKEN: sim.token,
  })
  programs.push(running)
  await running.line('ready')
  expect(await running.stop()).toEqual({ code: 0, signal: null })
  const { rows } = await run(`select data->>'id' as id from guilds where id = ${known}`)
  expect(rows).toEqual([{ id: known }])

  const back = await gateway('migrate', `-psql=${database.url}`, '-rollback', '-yes')
  expect(back.output).toContain('To give it back:')
  expect(back.output).toContain('Given back')
})
