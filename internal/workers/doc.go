// Package workers sends one load by several processes: each sends its part of
// the same requests, from a common start, and what they record is added up
// exactly. What is lost with one of them is said, with how far all of them had
// told of what they sent.
package workers
