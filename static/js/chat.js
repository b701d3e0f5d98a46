// What the first message needs, in the order in which it is missed.
import "./composer.js"
import "./enter.js"
import "./draft.js"
import "./requests.js"
import "./scroll.js"
import "./later.js"
