import { randomBytes } from 'node:crypto'

/**
 * The run's shared Redis and a prefix that no other test uses. Whoever changes the server itself
 * (its configuration, FLUSHALL, a restart) starts one of its own by startRedis().
 */
export function sharedRedis(): { readonly url: string; readonly prefix: string } {
  const url = process.env['TEST_REDIS_URL']
  if (url === undefined) throw new Error('TEST_REDIS_URL is not set: run the tests by vitest')
  return { url, prefix: `test:${randomBytes(8).toString('hex')}:` }
}
