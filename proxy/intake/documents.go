package intake

import (
	"fmt"
	"io"
	"net/http"

	"github.com/bucketseal/bucketseal/proxy/sigv4"
)

// Document reads the body of a request that carries a small one, and checks it.
func (in *Intake) Document(r *Request) ([]byte, error) {
	return in.DocumentWith(r, sigv4.BodyOptions{})
}

// DocumentWith is Document with other options of the body.
func (in *Intake) DocumentWith(r *Request, o sigv4.BodyOptions) ([]byte, error) {
	if r.Route.Body == 0 || r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	if r.ContentLength > 0 && r.Header.Get("X-Amz-Decoded-Content-Length") == "" && r.ContentLength > r.Route.Body {
		return nil, ErrBodyTooLarge
	}
	size := r.Route.Body
	if r.ContentLength >= 0 {
		size = min(size, r.ContentLength)
	}
	done, err := in.AwaitBody(r, size)
	if err != nil {
		return nil, err
	}
	body, err := r.Auth.Body(r.Request, o)
	var data []byte
	if err == nil {
		data, err = in.readWhole(r, body)
	}
	done()
	if err != nil {
		return nil, err
	}
	if err := in.Enter(r); err != nil {
		return nil, err
	}
	if r.Route.XML { // others are JSON, or sealed, and may look like anything
		err = checkXML(data)
	}
	return data, err
}

// readWhole reads a body of at most the route's limit. Its memory comes from the
// budget of documents as the body does, until r ends, or it is ErrBusy.
func (in *Intake) readWhole(r *Request, body *sigv4.Body) ([]byte, error) {
	if body.Size() > r.Route.Body {
		return nil, ErrBodyTooLarge
	}
	n := 0
	var beyond [1]byte
	for {
		into := beyond[:]
		if n == len(r.held) && int64(n) < r.Route.Body {
			if err := in.growDocument(r, n); err != nil {
				return nil, err
			}
		}
		if n < len(r.held) {
			into = r.held[n:]
		}
		m, err := body.Read(into)
		n += m
		switch {
		case int64(n) > r.Route.Body:
			return nil, ErrBodyTooLarge
		case err == io.EOF:
			return r.held[:n], nil
		case err != nil:
			return nil, fmt.Errorf("read document: %w", err)
		}
	}
}

// growDocument doubles the memory of r's document, of which n bytes have come.
func (in *Intake) growDocument(r *Request, n int) error {
	const first = 16 << 10
	next := in.documents.Take(r.Claim(), max(2*int64(n), first))
	if next == nil {
		return ErrBusy
	}
	copy(next, r.held)
	if r.held != nil {
		in.documents.Give(r.Claim(), r.held, true)
	}
	r.held = next
	return nil
}
