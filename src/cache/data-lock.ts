/**
 * The lock on a data folder: a file with the pid and the start time of its owner. Two processes on one
 * PGlite folder destroy it, so the lock of a living process is never taken; that of a dead one is replaced.
 */
import { execFileSync } from 'node:child_process'
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CacheError } from './errors.ts'

const LOCK_FILE = 'lock'
const ATTEMPTS_MAX = 20

export interface DataLock {
  release(): void
}

/** @throws CacheError CACHE_DATA_LOCKED with the owner's pid */
export function lockDataFolder(folder: string): DataLock {
  const path = join(folder, LOCK_FILE)
  const own = `${process.pid} ${startOf(process.pid) ?? ''}\n`
  const draft = `${path}.${process.pid}.${process.hrtime.bigint()}`
  // Linked, not written, into place: the file appears whole or not at all, and never over another one.
  writeFileSync(draft, own)
  try {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      if (link(draft, path)) return { release: () => release(path, own) }
      const found = read(path)
      if (found === null) continue
      const pid = ownerOf(found)
      if (pid !== null) throw locked(folder, pid)
      setAside(path, found, `${draft}.stale`)
    }
    throw locked(folder, ownerOf(read(path) ?? '') ?? 0)
  } finally {
    rmSync(draft, { force: true })
  }
}

function locked(folder: string, pid: number): CacheError {
  return new CacheError(
    'CACHE_DATA_LOCKED',
    `The data folder ${folder} is in use by process ${pid}. Stop it, or give another folder with -data.`,
    { folder, pid },
  )
}

/** Moves a dead process's lock away, unless somebody replaced it in between: then it is put back. */
function setAside(path: string, expected: string, aside: string): void {
  try {
    renameSync(path, aside)
  } catch {
    return
  }
  if (read(aside) !== expected) link(aside, path)
  rmSync(aside, { force: true })
}

function release(path: string, own: string): void {
  if (read(path) === own) rmSync(path, { force: true })
}

function link(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}

/** The pid in a lock if that very process still lives: the start time tells it from a later one of the same pid. */
function ownerOf(content: string): number | null {
  const [pidText = '', ...start] = content.trim().split(' ')
  const pid = Number(pidText)
  if (!Number.isInteger(pid) || pid <= 0) return null
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: it lives and is somebody else's.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return null
  }
  const startNow = startOf(pid)
  return startNow === null || startNow === start.join(' ') ? pid : null
}

/** When the process started, in whatever unit the system tells; null when it does not. */
function startOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // Field 22, in clock ticks since boot; the second field is in brackets and may hold spaces. See proc(5).
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null
  } catch {
    try {
      return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim()
    } catch {
      return null
    }
  }
}
