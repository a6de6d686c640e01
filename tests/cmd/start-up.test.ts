/** A gateway whose servers come later than itself, or go away while it starts. */
import { expect, onTestFinished, test } from 'vitest'
import { startSim, type Sim } from '../../sim/index.ts'
import { freshDatabase } from '../support/postgres.ts'
import { Program } from '../support/program.ts'
import { freePort } from '../support/server-process.ts'
import { startEtcd, startPostgres } from '../support/servers.ts'

async function startGateway(
  psql: string,
  api: string,
  token: string,
  ...argv: string[]
): Promise<Program> {
  const program = new Program(
    'cmd/gateway/main.ts',
    ['-prod', '-addr=none', '-http=none', '-redis=none', `-psql=${psql}`].concat([
      `-discord-api=${api}`,
      ...argv,
    ]),
    { DISCORD_TOKEN: token },
  )
  onTestFinished(async () => {
    program.kill('SIGKILL')
    await program.exited
  })
  return program
}

async function discord(options: Parameters<typeof startSim>[0] = {}): Promise<Sim> {
  const sim = await startSim({ shards: 1, guilds: 1, ...options })
  onTestFinished(() => sim.stop())
  return sim
}

test('waits for an etcd that is away, and joins when it is there', async () => {
  const [etcd, database, sim] = await Promise.all([startEtcd(), freshDatabase(), discord()])
  onTestFinished(async () => {
    await etcd.stop()
    await database.drop()
  })
  await etcd.kill()
  const program = await startGateway(database.url, sim.apiUrl, sim.token, `-etcd=${etcd.url}`)
  const said = await program.line('not there yet: trying again for 30 s')
  expect(said).toMatchObject({ what: 'etcd', error: /CLUSTER_ETCD_UNREACHABLE/ })
  await etcd.start()
  await program.line('ready')
}, 60_000)

test('waits for a Postgres that was killed while it starts', async () => {
  const [postgres, port] = await Promise.all([startPostgres(), freePort()])
  onTestFinished(() => postgres.stop())
  // Discord is not there yet: the start-up stands behind the migrations.
  const token = `${Buffer.from('1100000000000000001').toString('base64url')}.a.b`
  const program = await startGateway(postgres.url, `http://127.0.0.1:${port}/api`, token)
  await program.line('GET /gateway/bot failed, trying again')
  await postgres.kill()
  await discord({ port, token })
  expect(await program.line('not there yet: trying again for 30 s')).toMatchObject({
    what: 'Postgres',
  })
  await postgres.start()
  await program.line('ready')
}, 60_000)
