// A Chromium without a window and with a fresh profile, and pages in it on whatever origin a test wants.
import { chromium } from 'playwright-core'

const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // The answer that openPage gives for its page is asked for again, and not found, when a connection is made anew.
  '--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets',
]

// Starts the Chromium at this path. It ends with this process, even where that is killed: its pipe breaks.
export function launch(executablePath) {
  return chromium.launch({ executablePath, args: flags })
}

// Opens an empty page on this origin, https or below localhost, such as https://app.example. Nobody needs to serve it: the answer to its one
// request is given here, and whatever the page asks of others goes out as it would from a page of that origin.
export async function openPage(browser, origin) {
  // Chromium asks its user before a page of elsewhere may reach this machine; here the answer is yes.
  const page = await browser.newPage({ permissions: ['local-network-access'] })
  const empty = { contentType: 'text/html', body: '<!doctype html><title>A page of a test</title>' }
  await page.route(`${origin}/`, (route) => route.fulfill(empty))
  await page.goto(`${origin}/`)
  return page
}
