package intake

import (
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/proxy/edge"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

const (
	// strangersAtOnce bounds the bodies that are read of callers who have not proved
	// who they are: forms, and documents without a signature.
	strangersAtOnce = 64
	// Such a body, and a document of anybody, must come within bodyTime and a second
	// more for each strangerRate or documentRate bytes.
	bodyTime     = 10 * time.Second
	strangerRate = 256 << 10
	documentRate = 64 << 10
)

// Enter waits for a place for r, as whoever it is known to be from, and, if the audit log is
// required, until it is written down that r is let in: ErrUnaudited.
func (in *Intake) Enter(r *Request) error {
	leave, err := in.o.Gate.EnterAs(r.Context(), r.Claim())
	if err != nil {
		in.busy.warn(in.log, err)
		return err
	}
	r.leave = leave
	return r.intend()
}

// stepOut gives r's place back, if it has one.
func (r *Request) stepOut() {
	if r.leave != nil {
		r.leave()
		r.leave = nil
	}
}

// Claim is for whom r takes places and memory.
func (r *Request) Claim() edge.Claim {
	if r.Caller.Identity == nil {
		return edge.Stranger(r.Origin.Addr)
	}
	return edge.Claim{Who: r.Caller.account()}
}

// account is whose share a caller uses. Sessions and access keys that somebody
// makes for itself are no further ones.
func (c Caller) account() string {
	switch id := c.Identity; {
	case id.Kind == identity.ServiceAccount && id.Parent != "":
		return id.Parent
	case (id.Kind == identity.Temporary || id.Kind == identity.ServiceAccount) && id.Creator != "":
		return id.Creator
	}
	return c.AccessKey
}

// AwaitBody is called before a body of at most size bytes is read that must be there
// before anything can be done. It gives back r's place and a client its time. done
// says that the body was read. edge.ErrBusy if too many strangers send one.
func (in *Intake) AwaitBody(r *Request, size int64) (done func(), err error) {
	r.stepOut()
	c := r.Claim()
	limit := bodyTime + time.Duration(size/documentRate)*time.Second
	if c.Stranger {
		limit = bodyTime + time.Duration(size/strangerRate)*time.Second
		if !in.strangers.Take(c, 1) {
			in.busy.warn(in.log, edge.ErrBusy)
			return nil, edge.ErrBusy
		}
	}
	r.Request = r.WithContext(r.Context()) // net/http looks at the body of its own
	unhurry := edge.Hurry(r.Answer, r.Request, limit)
	return func() {
		unhurry()
		if c.Stranger {
			in.strangers.Give(c, 1)
		}
	}, nil
}

// busyLog says from time to time that requests are refused: a line for each would
// be one more load. Metrics count them.
type busyLog struct{ last atomic.Int64 } // seconds of Unix time

func (b *busyLog) warn(log *slog.Logger, err error) {
	const every = 10
	last, now := b.last.Load(), time.Now().Unix()
	if errors.Is(err, edge.ErrBusy) && now-last >= every && b.last.CompareAndSwap(last, now) {
		log.Warn("requests are refused with 503 SlowDown: limits.max_requests of them run, or all that one caller or strangers may have, and as many wait")
	}
}

// NeedOf is what a request with this method needs of the storage. frees says that it deletes
// data, and nothing else.
func NeedOf(method string, frees bool) storage.Need {
	switch {
	case method == http.MethodGet, method == http.MethodHead:
		return storage.Reads
	case frees:
		return storage.Frees
	}
	return storage.Writes
}
