package s3api

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// getObject serves GetObject and HeadObject.
func (s *API) getObject(w http.ResponseWriter, r *intake.Request) error {
	if asksToEncrypt(r.Header) {
		return errReadWithMethod
	}
	var customer sse.Request
	defer customer.CustomerKey.Zero()
	read, err := s.parseRead(r, &customer)
	if err != nil {
		return err
	}
	read.Checksum = strings.EqualFold(r.Header.Get("X-Amz-Checksum-Mode"), "ENABLED")
	get := &vault.Get{Read: read, Head: r.Method == http.MethodHead, Answer: answerParameters(r)}
	if get.Part, get.Range, err = parseExtent(r); err != nil {
		return err
	}
	object, err := s.vault.Open(r.Context(), s.reader(r), get)
	if err != nil {
		return err
	}
	defer func() { _ = object.Close() }()
	if get.Head {
		w.WriteHeader(tellObject(w.Header(), object, customer.CustomerKeyMD5))
		return nil
	}
	return s.sendObject(w, object, customer.CustomerKeyMD5)
}

// parseRead reads what all requests that read an object say, and the customer's key into
// customer, which the caller zeroes.
func (s *API) parseRead(r *intake.Request, customer *sse.Request) (vault.Read, error) {
	read := vault.Read{Name: name(r), Version: r.Query.Get("versionId"), Conditions: readConditionsOf(r.Header)}
	err := s.checkCustomerTransport(r)
	if err != nil {
		return read, err
	}
	var hasKey bool
	if *customer, hasKey, err = sse.ParseCustomer(r.Header); err != nil {
		return read, readHeaderError(err)
	}
	if hasKey {
		read.Customer = &customer.CustomerKey
	}
	return read, nil
}

// answerParameters are the parameters that change what is answered as metadata, nil for
// none.
func answerParameters(r *intake.Request) (answer map[string][]string) {
	for name, values := range r.Query {
		if strings.HasPrefix(name, "response-") {
			if answer == nil {
				answer = make(map[string][]string, len(r.Query))
			}
			answer[name] = values
		}
	}
	return answer
}

// parseExtent returns what of the object is asked for: the number of a part, 0 for none,
// or a range, nil for none.
func parseExtent(r *intake.Request) (part int, rng *plaintext.Range, err error) {
	header := r.Header.Get("Range")
	if v := r.Query.Get("partNumber"); v != "" {
		if header != "" {
			return 0, nil, errPartAndRange
		}
		if part, err = strconv.Atoi(v); err != nil || part < 1 || part > 10000 {
			return 0, nil, intake.NewError(400, invalidArgument, "Part number must be an integer between 1 and 10000, inclusive")
		}
	}
	rng, err = parseRange(header)
	return part, rng, err
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
	return intake.NewError(400, invalidArgument, message)
}

// tellObject says in an answer's headers what an object is, and returns the answer's
// status.
func tellObject(h http.Header, o *vault.Reader, customerKeyMD5 string) (status int) {
	stored := http.Header(o.Meta)
	copyObjectHeaders(h, stored)
	h.Set("ETag", o.ETag)
	h.Set("Content-Length", strconv.FormatInt(o.Range.Length, 10))
	status = http.StatusOK
	if o.Partial {
		status = http.StatusPartialContent
	}
	if o.Record == nil {
		for name, values := range stored {
			if isChecksumHeader(name) || name == "X-Amz-Mp-Parts-Count" || name == "Content-Range" {
				h[name] = values
			}
		}
		return status
	}
	if o.Partial && o.Range.Length > 0 { // else no Content-Range names no bytes
		h.Set("Content-Range", contentRange(o.Range, o.Size))
	}
	setEncryptionHeaders(h, o.Encryption, customerKeyMD5)
	tellRescued(h, &o.Seen)
	if o.Parts > 0 {
		h.Set("X-Amz-Mp-Parts-Count", strconv.Itoa(o.Parts))
	}
	switch sum := o.Checksum; {
	case sum == nil:
	case o.Parts > 0:
		h.Set(checksumOf(sum.Type).header, base64Std(sum.Value))
	default:
		setChecksumHeaders(h, &o.Facts)
	}
	return status
}

// rescuedHeader tells clients of an object whose manifest was made by Rescue, or found by
// its data.
const rescuedHeader = "X-Bucketseal-Manifest"

// tellRescued makes it visible that nobody vouches for an object's parts, or that they are
// a copy's.
func tellRescued(h http.Header, o *vault.Seen) {
	if o.Facts.Unproven {
		h.Set(rescuedHeader, "unproven")
	} else if o.Restored {
		h.Set(rescuedHeader, "restored")
	}
}

// sendObject answers with an object. Its first bytes are there, and authenticated, before
// the answer begins; a failure after that cuts the connection. An encrypted object is
// written from where it was decrypted.
func (s *API) sendObject(w http.ResponseWriter, o *vault.Reader, customerKeyMD5 string) error {
	if o.Record == nil {
		return s.in.Buffers().Send(w, o, o.Range.Length, func(buffer []byte) (int, error) {
			n, err := o.First(buffer)
			if err == nil {
				w.WriteHeader(tellObject(w.Header(), o, customerKeyMD5))
			}
			return n, err
		})
	}
	if err := o.Begin(); err != nil {
		return err
	}
	w.WriteHeader(tellObject(w.Header(), o, customerKeyMD5))
	_, err := o.WriteTo(intake.ToClient(w))
	return err
}
