package wire

import "sync/atomic"

// Traffic counts what went over connections. Several Transports may share one.
type Traffic struct {
	// Sent and Received are bytes on the wire, with heads, and with what TLS adds.
	Sent, Received atomic.Int64
	// Dialled are connections that were made, and Repeated requests that were sent a second time.
	Dialled, Repeated atomic.Int64
}
