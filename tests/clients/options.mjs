// What every Node script here shares: its options are one JSON object, its output one JSON object a line.
export const options = JSON.parse(process.argv[2] ?? '{}')

export function print(line) {
  process.stdout.write(JSON.stringify(line) + '\n')
}
