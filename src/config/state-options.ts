/** Every option of `state`. */
import type { Option } from './option.ts'

export const STATE_OPTIONS: readonly Option[] = [
  {
    flag: 'addr',
    kind: 'text',
    default: '127.0.0.1:8080',
    sentence: 'Address to listen on, HTTP/1.1 and cleartext HTTP/2 on one port.',
  },
  {
    flag: 'psql',
    aliases: ['psqlAddr'],
    kind: 'secret',
    default: '',
    sentence:
      'URL of the Postgres that the gateway writes to. A gateway on its embedded store serves State itself.',
  },
  {
    flag: 'read-token',
    kind: 'secret',
    default: '',
    sentence:
      'State answers only requests with Authorization: Bearer and this token. Without it everybody who reaches the address may read.',
  },
  {
    flag: 'write-token',
    kind: 'secret',
    default: '',
    sentence:
      'Turns the writing routes of State on, for requests with Authorization: Bearer and this token.',
  },
  {
    flag: 'prod',
    kind: 'switch',
    default: '',
    sentence: 'Logs JSON lines instead of text.',
  },
  {
    flag: 'pprof',
    kind: 'switch',
    default: '',
    sentence: 'Accepted for the ancestor; profiles come with a later version.',
  },
]
