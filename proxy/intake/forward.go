package intake

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// forwardedHeaders go upstream with every forwarded request.
var forwardedHeaders = []string{"Content-Type", "Content-Md5", "X-Amz-Sdk-Checksum-Algorithm"}

// isForwardedAnswer says whether a header of upstream's answer reaches the client:
// what S3 defines, and nothing that would steer a client elsewhere.
func isForwardedAnswer(name, value string) bool {
	switch name {
	case "Content-Type", "Content-Length", "Etag", "Last-Modified", "Accept-Ranges", "Cache-Control":
		return true
	case "Location": // of a new bucket
		return strings.HasPrefix(value, "/") && !strings.HasPrefix(value, "//")
	case "X-Amz-Request-Id", "X-Amz-Id-2":
		return false // the proxy says them
	}
	return strings.HasPrefix(name, "X-Amz-") && !storage.IsReserved(name) || strings.HasPrefix(name, "X-Minio-")
}

// Forward passes a request on, signed anew as its caller, and the answer back.
func (in *Intake) Forward(w http.ResponseWriter, r *Request, api upstream.API) error {
	body, err := in.Document(r)
	if err != nil {
		return err
	}
	answer, err := in.Ask(r, api, body)
	if err != nil {
		return err
	}
	return in.PassBack(w, r, answer)
}

// Ask sends a request on whose document was read already. The answer is one of success,
// and is to be closed, or passed back. *storage.Error for others.
func (in *Intake) Ask(r *Request, api upstream.API, body []byte) (*upstream.Answer, error) {
	streamed := r.Auth.Payload == sigv4.PayloadStreamingSignedTrailer || r.Auth.Payload == sigv4.PayloadStreamingUnsignedTrailer
	return in.ask(r, api, body, streamed)
}

// AskAnew is Ask with another document than the client's, whose digests do not go with it.
func (in *Intake) AskAnew(r *Request, api upstream.API, body []byte) (*upstream.Answer, error) {
	anew := *r
	anew.Request = r.WithContext(r.Context())
	anew.Header = maps.Clone(r.Header)
	maps.DeleteFunc(anew.Header, func(name string, _ []string) bool {
		return name == "Content-Md5" || name == "X-Amz-Content-Sha256" || name == "X-Amz-Sdk-Checksum-Algorithm" || strings.HasPrefix(name, "X-Amz-Checksum-")
	})
	return in.ask(&anew, api, body, true)
}

func (in *Intake) ask(r *Request, api upstream.API, body []byte, withMD5 bool) (*upstream.Answer, error) {
	header := make(storage.Metadata, 8)
	for _, name := range slices.Concat(forwardedHeaders, r.Route.Headers) {
		if v := r.Header.Values(name); len(v) > 0 {
			header[name] = v
		}
	}
	if algorithm, ok := checksum.Parse(header.Get("X-Amz-Sdk-Checksum-Algorithm")); ok && !upstream.Keeps(algorithm) {
		delete(header, "X-Amz-Sdk-Checksum-Algorithm") // verified here
	}
	for name, values := range r.Header {
		if strings.HasPrefix(name, "X-Amz-Checksum-") && KeptUpstream(name) {
			header[name] = values
		}
	}
	if v := r.Header["X-Amz-Content-Sha256"]; len(v) > 0 {
		header["X-Amz-Content-Sha256"] = v // told, where the proxy signs another one
	}
	return in.o.Forwarder.Forward(r.Context(), r.Actor(), &upstream.Forward{
		Method: r.Method, Bucket: r.Bucket, Key: r.Key, Query: r.Query, Header: header, Body: body, API: api, WithMD5: withMD5,
	})
}

// KeptUpstream says whether MinIO knows the checksum in a header of this name.
func KeptUpstream(header string) bool {
	algorithm, ok := checksum.OfHeader(header)
	return !ok || upstream.Keeps(algorithm) // about a checksum, as its type is
}

// PassBack passes an answer back, and closes it.
func (in *Intake) PassBack(w http.ResponseWriter, r *Request, answer *upstream.Answer) error {
	defer answer.Close()
	h := w.Header()
	for name, values := range answer.Header {
		if isForwardedAnswer(name, values[0]) {
			h[name] = values
		}
	}
	w.WriteHeader(answer.Status)
	if r.Method == http.MethodHead {
		return nil
	}
	if err := in.buffers.Send(w, answer, 0, nil); err != nil {
		return ReadError(err)
	}
	return nil
}

// ReadError is an error of reading what upstream answers: a connection that was cut, but
// for a client that went away.
func ReadError(err error) error {
	if errors.Is(err, ErrClientGone) {
		return err
	}
	return fmt.Errorf("read upstream's answer: %w (%w)", storage.ErrUnreachable, err)
}
