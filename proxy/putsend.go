package proxy

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// expectContinueFrom is the body size in bytes from which upstream is asked
// first whether it wants the body: a refusal then costs no transfer. So is it for
// all that is not read whole before: no client is told to send what is refused.
const expectContinueFrom = 1 << 20

// sendSmall reads the body whole, so that every digest is known and checked
// before upstream hears of the object, and sends it in one request.
func (u *upload) sendSmall(buffer []byte) error {
	var sent *guardedBody
	defer func() { u.server.buffers.give(u.request.claim(), buffer, sent == nil || sent.wasClosed()) }()
	if _, err := io.ReadFull(u.body, buffer); err != nil {
		return bodyError(u.body, err)
	}
	if err := drain(u.body); err != nil {
		return err
	}
	u.facts = u.known()
	if err := u.prepare(); err != nil {
		return err
	}
	var err error
	if sent, err = newGuardedBody(&u.stream, buffer); err != nil {
		return err
	}
	return u.send(u.request.Context(), u.upstreamRequest(sent))
}

// sendStream encrypts the body as it comes.
func (u *upload) sendStream() error {
	enc, err := u.stream.Encrypt(u.body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(u.request.Context())
	defer cancel(nil)
	if u.late {
		if err := u.server.setup.ensure(ctx); err != nil {
			return err
		}
	}
	var committed *time.Timer
	defer func() {
		if committed != nil {
			committed.Stop()
		}
	}()
	enc = &lastBytes{src: enc, remaining: sse.EncSize(u.size), commit: func() error {
		// What is there now must not be replaced by what nobody can read.
		if err := u.key.Confirm(ctx); err != nil || !u.late {
			return err
		}
		if err := u.writeManifest(ctx); err != nil {
			return err
		}
		// The janitor takes manifests without an object after a while.
		committed = time.AfterFunc(commitLimit, func() { cancel(errSlowCommit) })
		return nil
	}}
	return u.send(ctx, u.upstreamRequest(io.NopCloser(enc)))
}

// commitLimit bounds how long upstream may take to make an object visible once its
// manifest is written: to accept its last bytes, or to put its parts together. The
// janitor leaves manifests alone for much longer.
const commitLimit = 10 * time.Minute

// errSlowCommit ends a write that takes longer. Whether it was stored is not known.
var errSlowCommit = fmt.Errorf("the object was not stored within %v of its manifest: %w", commitLimit, storage.ErrUnreachable)

// writeManifest writes what is known with the last byte of the plaintext.
func (u *upload) writeManifest(ctx context.Context) error {
	u.facts = u.known()
	ref := manifest.Ref{Name: u.request.name(), ID: u.record.Manifest}
	return u.server.manifests.Put(ctx, ref, u.facts, nil)
}

// bodyError returns the client's fault if there is one, since upstream's failure
// then only follows from it.
func bodyError(body plaintext, err error) error {
	if own := body.Err(); own != nil && own != io.EOF {
		return own
	}
	return err
}

func (u *upload) upstreamRequest(body io.ReadCloser) *upstream.Request {
	up := u.request.upstreamRequest(http.MethodPut)
	up.Header = u.header
	up.Query = url.Values{recordHeader: {u.text}}
	up.Body, up.Length = body, sse.EncSize(u.size)
	if g, ok := body.(*guardedBody); ok {
		up.GetBody = g.again
	}
	u.setConditions(up)
	return up
}

func (u *upload) setConditions(up *upstream.Request) {
	u.setPinned(up.Header)
	if up.Length >= expectContinueFrom || u.size > u.server.opts.SmallObject {
		up.Header.Set("Expect", "100-continue")
	}
}

// send sends the object and keeps upstream's verdict.
func (u *upload) send(ctx context.Context, up *upstream.Request) error {
	resp, err := u.server.opts.Upstream.Do(ctx, up)
	if err != nil {
		return bodyError(u.body, err)
	}
	if resp.StatusCode != http.StatusOK {
		return upstream.ReadError(resp)
	}
	defer upstream.Discard(resp)
	u.etag = resp.Header.Get("ETag")
	u.header = resp.Header
	return u.key.Confirm(ctx)
}

// sendPlain stores the body as it is: the bucket is, explicitly, not encrypted.
// Where somebody on the way could change it, its chunks are signed.
func (u *upload) sendPlain() error {
	if !u.copied {
		r, s := u.request, u.server
		if err := s.keys.MayWrite(r.Context(), r.caller.keys(), r.bucket, u.asked); err != nil {
			return s.refusal(r.Context(), r, err)
		}
	}
	up := u.request.upstreamRequest(http.MethodPut)
	up.Header = u.header
	for name := range u.request.Header {
		if !u.copied && (name == "Content-Md5" || isChecksumHeader(name) && upstreamKeeps(name)) {
			up.Header[name] = u.request.Header[name]
		}
	}
	if algorithm, value, ok := u.body.DeclaredChecksum(); u.copied && ok {
		if a := checksumOf(sealedChecksum(algorithm)); a.upstream {
			up.Header.Set(a.header, base64Std(value))
		}
	}
	up.Body, up.Length = io.NopCloser(&sourceReader{src: u.body, remaining: u.size}), u.size
	up.SignBody = !u.server.opts.Upstream.Secure()
	u.setConditions(up)
	return u.send(u.request.Context(), up)
}

func base64Std(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
