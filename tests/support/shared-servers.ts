import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startPostgres, startRedis } from './servers.ts'

/**
 * Vitest's global set-up: one Postgres, one Redis and one -data folder for the whole run, handed to the test processes
 * through the environment. A server that is named there already is used as it is.
 */
export async function setup(): Promise<() => Promise<void>> {
  const servers = await Promise.all([
    startUnlessNamed('TEST_POSTGRES_URL', () => startPostgres({ fsync: false })),
    startUnlessNamed('TEST_REDIS_URL', () => startRedis({ args: ['--databases', '1'] })),
  ])
  const folder = mkdtempSync(join(tmpdir(), 'gateway-tests-'))
  process.env['TEST_DATA_FOLDER'] = folder
  return async () => {
    await Promise.all(servers.map((stop) => stop()))
    rmSync(folder, { recursive: true, force: true })
  }
}

async function startUnlessNamed(
  variable: string,
  start: () => Promise<{ url: string; stop: () => Promise<void> }>,
): Promise<() => Promise<void>> {
  if ((process.env[variable] ?? '') !== '') return async () => undefined
  const server = await start()
  process.env[variable] = server.url
  return () => server.stop()
}
