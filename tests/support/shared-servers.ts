import { startPostgres, startRedis } from './servers.ts'

/**
 * Vitest's global set-up: one Postgres and one Redis for the whole run, handed to the test processes
 * through the environment. A server that is named there already is used as it is.
 */
export async function setup(): Promise<() => Promise<void>> {
  const servers = await Promise.all([
    startUnlessNamed('TEST_POSTGRES_URL', () => startPostgres({ fsync: false })),
    startUnlessNamed('TEST_REDIS_URL', () => startRedis({ args: ['--databases', '1'] })),
  ])
  return async () => {
    await Promise.all(servers.map((stop) => stop()))
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
