package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// getObject serves GetObject and HeadObject.
func (s *Server) getObject(w http.ResponseWriter, r *request) error {
	d, err := s.newDownload(r)
	if err != nil {
		return err
	}
	defer d.customer.CustomerKey.Zero()
	return whileChanging(func() error {
		forgetObject(w.Header(), http.StatusInternalServerError) // what an earlier try said
		err := d.serve(w)
		d.cold = d.cold || errors.Is(err, errChanged)
		return err
	})
}

// readTries is how often a read of an object that is being overwritten is begun.
const readTries = 5

// whileChanging does something that reads an object in more than one request, and
// begins anew when the object was overwritten between two of them: no condition of
// the client's has failed then. errChanged if that happens again and again.
func whileChanging(do func() error) (err error) {
	for range readTries {
		if err = do(); !errors.Is(err, errChanged) {
			return err
		}
	}
	return err
}

// readChanged reads the answer to a request that was pinned to an object that was
// seen before. errChanged if that is no longer the current one.
func readChanged(resp *http.Response) error {
	answer := upstream.ReadError(resp)
	if answer.Status == http.StatusPreconditionFailed {
		return fmt.Errorf("%w (%v)", errChanged, answer) //nolint:errorlint // not the client's condition
	}
	return answer
}

func (d *download) serve(w http.ResponseWriter) error {
	resp, err := d.fetch(d.request.Context())
	if err != nil {
		return err
	}
	defer upstream.Discard(resp)
	rec, err := recordOf(resp)
	if err != nil {
		return err
	}
	if rec != nil {
		return d.serveEncrypted(w, resp, rec)
	}
	return d.servePlain(w, resp)
}

// download is one GetObject or HeadObject on its way.
type download struct {
	server   *Server
	request  *request
	head     bool
	rng      *byteRange // nil for the whole object
	part     int        // the part number asked for, 0 for none
	customer sse.Request
	hasKey   bool // customer holds a key
	// asked is what was asked for where it was known beforehand, else nil.
	asked *asked
	// cold says that what is known beforehand is not to be used.
	cold bool
}

func (s *Server) newDownload(r *request) (d *download, err error) {
	if asksToEncrypt(r.Header) {
		return nil, errReadWithMethod
	}
	if err := s.checkCustomerTransport(r); err != nil {
		return nil, err
	}
	d = &download{server: s, request: r, head: r.Method == http.MethodHead}
	if d.customer, d.hasKey, err = sse.ParseCustomer(r.Header); err != nil {
		return nil, readHeaderError(err)
	}
	header := r.Header.Get("Range")
	if v := r.query.Get("partNumber"); v != "" {
		if header != "" {
			return nil, errPartAndRange
		}
		if d.part, err = strconv.Atoi(v); err != nil || d.part < 1 || d.part > 10000 {
			return nil, &apiError{400, invalidArgument, "Part number must be an integer between 1 and 10000, inclusive", nil}
		}
	}
	d.rng, err = parseRange(header)
	return d, err
}

// asksToEncrypt says whether a request has headers that only writes may have.
func asksToEncrypt(h http.Header) bool {
	for _, name := range []string{sse.HeaderMethod, sse.HeaderKMSKeyID, sse.HeaderContext} {
		if _, ok := h[name]; ok {
			return true
		}
	}
	return false
}

// readHeaderError is MinIO's answer to bad customer key headers of a read.
func readHeaderError(err error) error {
	message := "Requests specifying Server Side Encryption with Customer provided keys must provide "
	switch {
	case errors.Is(err, sse.ErrCustomerAlgorithm):
		message += "a valid encryption algorithm."
	case errors.Is(err, sse.ErrCustomerMD5Missing):
		message += "the client calculated MD5 of the secret key."
	case errors.Is(err, sse.ErrCustomerMD5Mismatch):
		message = "The calculated MD5 hash of the key did not match the hash that was provided."
	default:
		message += "an appropriate secret key."
	}
	return &apiError{400, invalidArgument, message, nil}
}

// fetch asks upstream for the object. A range is asked for where it is known to
// lie, else as if the object were one encrypted stream, which needs no look-up;
// where it lies elsewhere, source or servePlain ask again.
func (d *download) fetch(ctx context.Context) (*http.Response, error) {
	if resp, err := d.fetchKnown(ctx); resp != nil || err != nil {
		return resp, err
	}
	up := d.upstreamRequest()
	if d.part > 1 { // where it lies is not known yet; the first one lies first
		up.Method = http.MethodHead
	}
	if d.rng != nil && !d.head {
		up.Header.Set("Range", d.rng.upstream())
	}
	resp, err := d.server.opts.Upstream.Do(ctx, up)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		return resp, nil
	case http.StatusRequestedRangeNotSatisfiable:
		return d.fetchBeyond(ctx, resp)
	default:
		return nil, upstream.ReadError(resp)
	}
}

// fetchBeyond looks the object up whose end lies before the range, so that the
// request's conditions are judged before its range is.
func (d *download) fetchBeyond(ctx context.Context, refused *http.Response) (*http.Response, error) {
	upstream.Discard(refused)
	up := d.upstreamRequest()
	up.Method = http.MethodHead
	resp, err := d.server.opts.Upstream.Do(ctx, up)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, upstream.ReadError(resp)
	}
	return resp, nil
}

func (d *download) upstreamRequest() *upstream.Request {
	up := d.request.upstreamRequest(d.request.Method)
	if v := d.request.Header.Get("X-Amz-Checksum-Mode"); v != "" {
		up.Header.Set("X-Amz-Checksum-Mode", v) // of use for plain objects only
	}
	up.Query = make(url.Values, len(d.request.query))
	for name, values := range d.request.query {
		if name != "partNumber" {
			up.Query[name] = values
		}
	}
	return up
}

// serveEncrypted answers with an encrypted object.
func (d *download) serveEncrypted(w http.ResponseWriter, resp *http.Response, rec *sse.Record) error {
	r, s := d.request, d.server
	if d.hasKey && rec.Mode != sse.ModeC {
		return keyring.ErrNoCustomerKey
	}
	var customer *sse.Secret
	if d.hasKey {
		customer = &d.customer.CustomerKey
	}
	wantChecksum := wantsChecksum(r.Header)
	o, err := s.openObject(r.Context(), r.caller.keys(), r.name(), rec, resp, customer, wantChecksum)
	if err != nil {
		return err
	}
	defer o.zero()
	if d.asked != nil && d.asked.ref != manifestRef(o.name, rec, o.stored) { // another object with the same ETag
		d.cold = true
		return d.serve(w)
	}
	etag := o.etag()
	modified, _ := http.ParseTime(resp.Header.Get("Last-Modified"))
	if err := readConditions(w, r.Header, etag, modified); err != nil {
		return err
	}
	if d.rng != nil && !rangeStillValid(r.Header, etag, modified) {
		d.rng = nil
		return d.serve(w)
	}
	part, err := d.plan(o)
	if err != nil {
		return err
	}
	if !d.head && d.part == 0 && resp.Request.Method == http.MethodHead {
		return fmt.Errorf("the object grew after its range was refused: %w", storage.ErrUnreachable)
	}
	h := w.Header()
	copyObjectHeaders(h, resp.Header)
	h.Set("ETag", etag)
	setEncryptionHeaders(h, rec, d.customer.CustomerKeyMD5)
	s.tellUnproven(h, o)
	if o.facts.Checksum != nil && !part.partial && d.part == 0 && wantChecksum {
		setChecksumHeaders(h, &o.facts)
	}
	err = d.serveData(w, resp, o, part)
	s.doubtUnfit(o, err)
	return err
}

func wantsChecksum(h http.Header) bool {
	return strings.EqualFold(h.Get("X-Amz-Checksum-Mode"), "ENABLED")
}
