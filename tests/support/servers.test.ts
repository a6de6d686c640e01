import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import pg from 'pg'
import { expect, test } from 'vitest'
import { freshDatabase } from './postgres.ts'
import { sharedRedis } from './redis.ts'
import { startEtcd, startPostgres, startRedis } from './servers.ts'
import { until } from './until.ts'

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows
  } finally {
    await client.end()
  }
}

async function redisCommand(url: string, name: string, ...args: string[]): Promise<unknown> {
  const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null })
  redis.on('error', () => undefined)
  try {
    await redis.connect()
    return await redis.call(name, ...args)
  } finally {
    redis.disconnect()
  }
}

function hasEnded(pid: number): boolean {
  try {
    // Where no init reaps it, what is left is a zombie.
    return readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  } catch {
    return true
  }
}

test('a fresh database is empty, its own, and gone after drop', async () => {
  const [one, two] = await Promise.all([freshDatabase(), freshDatabase()])
  await query(one.url, 'create table facts (id int8 primary key)')
  expect(await query(two.url, `select to_regclass('facts') as found`)).toEqual([{ found: null }])
  const copy = await freshDatabase({ template: one.name })
  expect(await query(copy.url, 'select count(*)::int4 from facts')).toEqual([{ count: 0 }])
  await Promise.all([one.drop(), two.drop(), copy.drop()])
  await expect(query(one.url, 'select 1')).rejects.toThrow('does not exist')
})

test('the shared Redis answers', async () => {
  const { url, prefix } = sharedRedis()
  await redisCommand(url, 'set', `${prefix}key`, 'value')
  expect(await redisCommand(url, 'get', `${prefix}key`)).toBe('value')
})

test('a Postgres of its own comes back with its data and port after kill -9', async () => {
  const server = await startPostgres()
  await query(server.url, 'create table facts (id int8 primary key)')
  await query(server.url, 'insert into facts values (1)')
  await server.kill()
  await expect(query(server.url, 'select 1')).rejects.toThrow('ECONNREFUSED')
  await server.start()
  expect(await query(server.url, 'select id::int4 from facts')).toEqual([{ id: 1 }])
  await server.stop()
})

test('an append-only Redis comes back with its data after kill -9', async () => {
  const server = await startRedis({ appendonly: true })
  await redisCommand(server.url, 'set', 'key', 'value')
  await server.kill()
  await expect(redisCommand(server.url, 'ping')).rejects.toThrow()
  await server.start()
  expect(await redisCommand(server.url, 'get', 'key')).toBe('value')
  await server.stop()
})

test('etcd answers and comes back with its data', async () => {
  const server = await startEtcd()
  const put = await fetch(`${server.url}/v3/kv/put`, {
    method: 'POST',
    body: JSON.stringify({ key: 'a2V5', value: 'dmFsdWU=' }),
  })
  expect(put.status).toBe(200)
  await server.shutDown()
  await server.start()
  const range = await fetch(`${server.url}/v3/kv/range`, {
    method: 'POST',
    body: JSON.stringify({ key: 'a2V5' }),
  })
  expect(await range.json()).toMatchObject({ kvs: [{ value: 'dmFsdWU=' }] })
  await server.stop()
})

test('servers die with a test process that is killed, and the next start sweeps their data', async () => {
  const script = new URL('./fixtures/start-and-hang.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const servers = JSON.parse(line.toString()) as { pid: number; dataDir: string }[]
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
  await until(() => servers.every(({ pid }) => hasEnded(pid)), {
    what: 'the end of both servers',
  })
  const next = await startRedis()
  expect(servers.map(({ dataDir }) => existsSync(dataDir))).toEqual([false, false])
  await next.stop()
})
