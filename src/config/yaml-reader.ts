import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type YAMLMap } from 'yaml'
import { nearest } from '../base/index.ts'
import { isSnowflake } from '../discord/index.ts'
import { ConfigError } from './errors.ts'

/**
 * Reads a file of YAML, or JSON, which is YAML as well. What is not as expected is said with file, line and
 * column, never with a value that may hold a password.
 *
 * @throws ConfigError CONFIG_DESTINATIONS_FILE, CONFIG_UNKNOWN_KEY
 */
export class YamlReader {
  readonly path: string
  readonly #lines = new LineCounter()

  constructor(path: string) {
    this.path = path
  }

  parse(text: string): Node | null {
    // Without prettyErrors, whose messages quote the text around the error.
    const document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false })
    const [error] = [...document.errors, ...document.warnings]
    if (error !== undefined) {
      throw this.badAt(error.pos[0], `the text is neither YAML nor JSON (${error.code})`)
    }
    return document.contents
  }

  /** The values of a map by key; every key must be one of `keys`. */
  fields(map: YAMLMap, keys: readonly string[]): Map<string, Node> {
    const fields = new Map<string, Node>()
    for (const { key, value } of map.items) {
      const name = isScalar(key) ? String(key.value) : ''
      if (!keys.includes(name)) {
        const guess = nearest(name, keys)
        throw new ConfigError(
          'CONFIG_UNKNOWN_KEY',
          `${this.where(key)}: ${JSON.stringify(name)} is not a key here${guess === null ? '' : `; did you mean ${guess}`}. Known are ${keys.join(', ')}.`,
          { file: this.path, key: name },
        )
      }
      if (value === null) throw this.bad(key, `\`${name}\` has no value`)
      fields.set(name, value as Node)
    }
    return fields
  }

  map(node: unknown, what: string): YAMLMap {
    if (isMap(node)) return node as YAMLMap
    throw this.bad(node, `expected a map for ${what}`)
  }

  list(node: unknown, what: string): readonly (Node | null)[] {
    if (isSeq(node)) return node.items as (Node | null)[]
    throw this.bad(node, `expected a list of ${what}`)
  }

  isList(node: unknown): boolean {
    return isSeq(node)
  }

  text(node: unknown, key: string): string {
    if (isScalar(node) && typeof node.value === 'string' && node.value !== '') return node.value
    throw this.bad(node, `expected a text for \`${key}\``)
  }

  /** A decimal id, quoted or not: as a number it would lose its last digits. */
  id(node: unknown, key: string): bigint {
    const text = isScalar(node) ? (node.source ?? String(node.value)) : ''
    if (isSnowflake(text)) return BigInt(text)
    throw this.bad(node, `expected ids of Discord's for \`${key}\``)
  }

  boolean(node: unknown, key: string): boolean {
    if (isScalar(node) && typeof node.value === 'boolean') return node.value
    throw this.bad(node, `expected true or false for \`${key}\``)
  }

  integer(node: unknown, key: string, min: number, max: number): number {
    const value = isScalar(node) ? node.value : null
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) {
      return value
    }
    throw this.bad(node, `expected a whole number from ${min} to ${max} for \`${key}\``)
  }

  choice<T extends string>(node: unknown, key: string, choices: readonly T[]): T {
    const value = isScalar(node) ? node.value : null
    const choice = choices.find((one) => one === value)
    if (choice !== undefined) return choice
    const guess = typeof value === 'string' ? nearest(value, choices) : null
    throw this.bad(
      node,
      `expected one of ${choices.join(', ')} for \`${key}\`${guess === null ? '' : `; did you mean ${guess}`}`,
    )
  }

  bad(node: unknown, expected: string): ConfigError {
    return this.badAt(startOf(node), expected)
  }

  /** `file:line:column`, both counted from 1. */
  where(node: unknown): string {
    return this.#whereAt(startOf(node))
  }

  badAt(offset: number, expected: string): ConfigError {
    return new ConfigError('CONFIG_DESTINATIONS_FILE', `${this.#whereAt(offset)}: ${expected}.`, {
      file: this.path,
    })
  }

  #whereAt(offset: number): string {
    const { line, col } = this.#lines.linePos(offset)
    return `${this.path}:${Math.max(1, line)}:${Math.max(1, col)}`
  }
}

function startOf(node: unknown): number {
  return (node as Node | null | undefined)?.range?.[0] ?? 0
}
