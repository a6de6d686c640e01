import { posix } from 'node:path'
import { readProjectFile } from './tree.ts'

export interface Import {
  /** The importing file. */
  readonly from: string
  /** A path from the project's top, or a package's name, or `node:…`. */
  readonly to: string
  /** Whether only types are imported: it leaves no trace at run time. */
  readonly isTypeOnly: boolean
}

// import … from 'x' · export … from 'x' · import 'x' · import('x'); comments hold none of these whole.
const STATEMENT =
  /(?:^|\n)\s*(import|export)(\s+type)?\s(?:[\w$*\s{},]+?\sfrom\s+)?'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/g

export function importsOf(path: string): Import[] {
  return findImports(path, readProjectFile(path))
}

export function findImports(path: string, text: string): Import[] {
  const imports: Import[] = []
  for (const match of text.matchAll(STATEMENT)) {
    const target = match[3] ?? match[4]
    if (target === undefined) continue
    const to = target.startsWith('.')
      ? posix.join(posix.dirname(path), target)
      : packageName(target)
    imports.push({ from: path, to, isTypeOnly: match[2] !== undefined })
  }
  return imports
}

/** `@grpc/grpc-js/build/x` → `@grpc/grpc-js`; `pg/lib/y` → `pg`. */
function packageName(target: string): string {
  if (target.startsWith('node:')) return target
  return target
    .split('/')
    .slice(0, target.startsWith('@') ? 2 : 1)
    .join('/')
}
