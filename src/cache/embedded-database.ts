/**
 * The embedded database: PGlite in a worker thread behind one `pg` client.
 *
 *   data folder/lock   whose process it is
 *   data folder/pg     Postgres' own files
 *   data folder/pg.new the same while they are made for the first time
 */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../base/index.ts'
import { ClientConnection } from './client-connection.ts'
import type { Connection, Database, DatabaseDeps, EmbeddedOptions } from './database.ts'
import { type DataLock, lockDataFolder } from './data-lock.ts'
import { CacheError } from './errors.ts'
import { EmbeddedMaintenance } from './embedded-maintenance.ts'
import { EmbeddedEngine } from './embedded-engine.ts'

/** The session outlives the client: what one left behind is unknown to the next. */
const CLEAN_SESSION = 'rollback; deallocate all'
/** More would hold the one connection for too long. */
const ROWS_PER_STATEMENT_MAX = 500

export async function openEmbedded(
  options: EmbeddedOptions,
  deps: DatabaseDeps,
): Promise<Database> {
  const lock = takeFolder(options.dataDir)
  let engine: EmbeddedEngine
  try {
    engine = await openFiles(options.dataDir)
  } catch (error) {
    lock.release()
    throw unusable(options.dataDir, error)
  }
  engine.onFailed = (message) => {
    deps.log.error('embedded database failed', { address: options.dataDir, error: message })
  }
  const only = new ClientConnection(() => engine.client(), options.dataDir, {
    setup: CLEAN_SESSION,
  })
  const maintenance = new EmbeddedMaintenance(only, deps)
  const connection: Connection = {
    query: (text, values, name) => only.query(text, values, name),
    transaction: (work) => only.transaction(work),
    close: () => Promise.resolve(),
  }
  let closing: Promise<void> | null = null
  async function closeAll(): Promise<void> {
    maintenance.stop()
    await only.close()
    await engine.close()
    lock.release()
  }
  return {
    kind: 'embedded',
    address: options.dataDir,
    capabilities: {
      connectionsMax: 1,
      hasTimeouts: false,
      rowsPerStatementMax: ROWS_PER_STATEMENT_MAX,
    },
    query: (text, values, name) => only.query(text, values, name),
    async connect(_label, { setup } = {}) {
      // There is one connection: what a lane wants of the planner suits every statement of ours.
      if (setup !== undefined) await only.query(setup)
      return connection
    },
    close() {
      closing ??= closeAll()
      return closing
    },
  }
}

/** A kill while the files are made for the first time must not leave half a database behind. */
async function openFiles(folder: string): Promise<EmbeddedEngine> {
  const files = join(folder, 'pg')
  if (!existsSync(files)) {
    const draft = join(folder, 'pg.new')
    rmSync(draft, { recursive: true, force: true })
    const engine = await EmbeddedEngine.start(draft)
    await engine.close()
    renameSync(draft, files)
  }
  return await EmbeddedEngine.start(files)
}

function takeFolder(folder: string): DataLock {
  try {
    mkdirSync(folder, { recursive: true })
    return lockDataFolder(folder)
  } catch (error) {
    throw error instanceof CacheError ? error : unusable(folder, error)
  }
}

function unusable(folder: string, cause: unknown): CacheError {
  return new CacheError(
    'CACHE_DATA_UNUSABLE',
    `The data folder ${folder} cannot be used: ${messageOf(cause)}.`,
    { folder },
    { cause },
  )
}
