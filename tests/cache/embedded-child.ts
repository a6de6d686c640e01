/**
 * A process that writes to an embedded cache until it is killed: `node embedded-child.ts <folder>`.
 * Prints `open <rows found>`, then after each commit how many rows there are.
 */
import { messageOf } from '../../src/base/index.ts'
import { migrate, openDatabase } from '../../src/cache/index.ts'
import { deps, GUILD, role, TestCache } from './cache-setup.ts'

const dataDir = process.argv[2] ?? ''
try {
  const database = await openDatabase({ dataDir }, deps)
  await migrate(database, deps)
  const cache = await TestCache.open(database, { keep: true, revision: process.pid })
  let count = (await cache.column('select id from roles')).length
  console.log(`open ${count}`)
  for (;;) {
    for (let n = 0; n < 25; n++) {
      cache.write('GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(count++) })
    }
    await cache.writer.flush()
    console.log(String(count))
  }
} catch (error) {
  console.log(`failed ${messageOf(error)}`)
  process.exitCode = 1
}
