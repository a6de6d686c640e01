import { accessSync, constants, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/**
 * Where the programs that the tests talk to are: the variable of the environment if it is set, else
 * the PATH, else Debian's folder of Postgres versions (which is on nobody's PATH), newest first.
 */
export const SERVER_BINARIES = {
  redis: { file: 'redis-server', variable: 'TEST_REDIS_BIN' },
  postgres: { file: 'postgres', variable: 'TEST_POSTGRES_BIN' },
  initdb: { file: 'initdb', variable: 'TEST_INITDB_BIN' },
  etcd: { file: 'etcd', variable: 'TEST_ETCD_BIN' },
} as const

/** The oldest that the SQL runs on. */
const POSTGRES_MAJOR_MIN = 15

export type ServerBinary = keyof typeof SERVER_BINARIES

/** What a search looks at; a test hands in its own. */
export interface BinaryPlaces {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Holds one folder per Postgres version, each with a `bin`. */
  readonly postgresDir: string
}

export const systemPlaces: BinaryPlaces = {
  env: process.env,
  postgresDir: '/usr/lib/postgresql',
}

/** @returns the path of an executable file, or null when there is none. */
export function findServerBinary(
  name: ServerBinary,
  places: BinaryPlaces = systemPlaces,
): string | null {
  const { file, variable } = SERVER_BINARIES[name]
  const named = places.env[variable]
  if (named !== undefined && named !== '') return isExecutable(named) ? named : null
  return findOnPath(file, places) ?? findInVersions(file, places.postgresDir)
}

export function findOnPath(file: string, places: BinaryPlaces = systemPlaces): string | null {
  for (const folder of (places.env['PATH'] ?? '').split(delimiter)) {
    if (folder !== '' && isExecutable(join(folder, file))) return join(folder, file)
  }
  return null
}

/** The path of a server's program, for a test that cannot run without it. */
export function requireServerBinary(name: ServerBinary): string {
  const path = findServerBinary(name)
  if (path === null) {
    const { file, variable } = SERVER_BINARIES[name]
    throw new Error(
      `The tests need ${file}: run "npm test" once, which installs it, or name it by ${variable}.`,
    )
  }
  return path
}

function findInVersions(file: string, postgresDir: string): string | null {
  let versions: string[]
  try {
    versions = readdirSync(postgresDir)
  } catch {
    return null
  }
  for (const version of versions.sort((a, b) => Number(b) - Number(a))) {
    if (Number(version) < POSTGRES_MAJOR_MIN) break
    const path = join(postgresDir, version, 'bin', file)
    if (isExecutable(path)) return path
  }
  return null
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
