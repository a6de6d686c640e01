/**
 * Counters for branches, put into a module's text as it is loaded: a build for the fuzzer, without a parser.
 *
 *   if (a > b)        →  if ((a > b)?(hits[7]++,true):(hits[8]++,false))      the same for while
 *   case NIL_EXT:     →  case NIL_EXT:hits[9]++;                              the same for default
 *
 * Lines stay where they are. Strings, templates, regular expressions and comments are stepped over.
 */
export interface Instrumented {
  readonly code: string
  /** The first number that no counter of this module has. */
  readonly nextId: number
}

/** @param code JavaScript; types are stripped already. `hits` becomes the module's name of the counters. */
export function instrument(code: string, firstId: number, hits: string): Instrumented {
  const inserts: [at: number, text: string][] = []
  let id = firstId
  for (let at = 0; at < code.length; ) {
    const behind = behindLiteral(code, at)
    if (behind > at) {
      at = behind
      continue
    }
    const word = wordAt(code, at)
    if (word === '') {
      at++
      continue
    }
    const isProperty = code[at - 1] === '.'
    at += word.length
    if (isProperty) continue
    if ((word === 'if' || word === 'while') && code.startsWith(' (', at)) {
      const open = at + 1
      const close = closingParenthesis(code, open)
      inserts.push(
        [open + 1, '('],
        [close, `)?(${hits}[${id}]++,true):(${hits}[${id + 1}]++,false)`],
      )
      id += 2
      at = open + 1
    } else if (word === 'case' || (word === 'default' && code[at] === ':')) {
      while (code[at] !== ':') at = Math.max(at + 1, behindLiteral(code, at))
      at++
      inserts.push([at, `${hits}[${id}]++;`])
      id++
    }
  }
  inserts.sort((a, b) => a[0] - b[0])
  let result = ''
  let from = 0
  for (const [at, text] of inserts) {
    result += code.slice(from, at) + text
    from = at
  }
  return { code: result + code.slice(from), nextId: id }
}

/** Offset behind the string, template, regular expression or comment at `at`; `at` when there is none. */
function behindLiteral(code: string, at: number): number {
  const char = code[at]
  if (char === '/' && code[at + 1] === '/') return endOr(code, code.indexOf('\n', at))
  if (char === '/' && code[at + 1] === '*') return endOr(code, code.indexOf('*/', at) + 2)
  if (char === "'" || char === '"' || char === '`') return behindQuoted(code, at, char)
  // Where a value begins, a slash begins a regular expression; the formatter puts a space around a division.
  if (char === '/' && code[at + 1] !== ' ') return behindQuoted(code, at, '/')
  return at
}

/** Templates hold no backtick inside of `${}` in this codec. */
function behindQuoted(code: string, at: number, quote: string): number {
  let end = at + 1
  while (end < code.length && code[end] !== quote) end += code[end] === '\\' ? 2 : 1
  return end + 1
}

function endOr(code: string, at: number): number {
  return at <= 0 ? code.length : at
}

function wordAt(code: string, at: number): string {
  let end = at
  while (/[\w$]/.test(code[end] ?? '')) end++
  return code.slice(at, end)
}

function closingParenthesis(code: string, open: number): number {
  let depth = 0
  for (let at = open; at < code.length; ) {
    const behind = behindLiteral(code, at)
    if (behind > at) {
      at = behind
      continue
    }
    if (code[at] === '(') depth++
    else if (code[at] === ')' && --depth === 0) return at
    at++
  }
  throw new SyntaxError(`No parenthesis closes the one at ${open}`)
}
