// Starts what every page has; what only one page has is imported by its own template.
import { startKeys } from './keys.js';
import { startLive } from './live.js';
import { startTimes } from './times.js';

startTimes();
startKeys();
startLive();
