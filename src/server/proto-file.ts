/** The files of proto/ as the program finds them. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { ServiceDefinition } from '@grpc/grpc-js'
import { loadSync, type Options } from '@grpc/proto-loader'

/** Field names as in the file, int64 as decimal text. */
export const LOADER_OPTIONS: Options = {
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true,
}

/** Beside src in a clone, beside dist in an installed program. */
export function protoFile(name: string): string {
  const candidates = ['../../', '../../../'].map((up) =>
    fileURLToPath(new URL(`${up}proto/${name}.proto`, import.meta.url)),
  )
  return candidates.find((path) => existsSync(path)) ?? candidates[0]!
}

export function loadService(file: string, service: string): ServiceDefinition {
  return loadSync(file, LOADER_OPTIONS)[service] as ServiceDefinition
}
