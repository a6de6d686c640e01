/** A database whose transactions fail now and then: before anything was done, or after everything was committed. */
import type { Random } from '../../../src/base/index.ts'
import type { Database } from '../../../src/cache/index.ts'

const FAILURE_CHANCE = 0.04

export function shakyDatabase(database: Database, random: Random): Database {
  return {
    kind: database.kind,
    capabilities: database.capabilities,
    address: database.address,
    query: (...statement) => database.query(...statement),
    async connect(label, options) {
      const connection = await database.connect(label, options)
      // Take-overs are tried again by their caller, which is not here.
      if (!label.startsWith('lane')) return connection
      return {
        query: (...statement) => connection.query(...statement),
        async transaction(work) {
          const fate = random()
          if (fate < FAILURE_CHANCE) throw new Error('the connection was lost before the work')
          const result = await connection.transaction(work)
          if (fate < 2 * FAILURE_CHANCE) throw new Error('the connection was lost after COMMIT')
          return result
        },
        close: () => connection.close(),
      }
    },
    close: () => database.close(),
  }
}
