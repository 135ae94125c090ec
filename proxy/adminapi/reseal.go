package adminapi

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/bucketseal/bucketseal/proxy/adminpayload"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// maxSealedAnswer bounds an answer of MinIO's that is sealed anew, in bytes.
const maxSealedAnswer = 4 << 20

// A client that has a pair of its own at MinIO seals under its own secret, which MinIO does
// not know, and reads nothing that is sealed under that pair's. So both are sealed anew here.

// secretsOf are the secrets that the caller seals under, and MinIO for it. They differ only
// where the configuration gives the caller another pair at MinIO.
func secretsOf(r *intake.Request) (client, minio string, differ bool) {
	client, minio = r.Caller.Identity.SecretKey, r.Caller.Identity.AtUpstream().SecretKey
	return client, minio, client != minio
}

// askAdmin sends an admin request upstream. Answers that are errors come back
// as such.
func (a *API) askAdmin(r *intake.Request) (*upstream.Answer, error) {
	body, err := a.in.Document(r)
	if err != nil {
		return nil, err
	}
	if _, _, differ := secretsOf(r); differ && adminpayload.IsSealed(body) {
		if err := a.judged(r); err != nil {
			return nil, err
		}
	}
	return a.askAdminWith(r, body)
}

// askAdminWith is askAdmin for a request whose body was read already.
func (a *API) askAdminWith(r *intake.Request, body []byte) (*upstream.Answer, error) {
	client, minio, differ := secretsOf(r)
	if !differ {
		return a.in.Ask(r, upstream.Admin, body)
	}
	anew, err := a.reseal(r, client, minio, body)
	if err != nil {
		return nil, err
	}
	ask := a.in.Ask
	if !bytes.Equal(anew, body) {
		ask = a.in.AskAnew
	}
	answer, err := ask(r, upstream.Admin, anew)
	if err != nil {
		return nil, err
	}
	if err := a.resealAnswer(r, minio, client, answer); err != nil {
		_ = answer.Close()
		return nil, err
	}
	return answer, nil
}

// reseal returns a document sealed under another secret. What is no payload under the first
// one stays as it is.
func (a *API) reseal(r *intake.Request, from, to string, document []byte) ([]byte, error) {
	if !adminpayload.IsSealed(document) {
		return document, nil
	}
	leave, err := a.sealing.EnterAs(r.Context(), r.Claim())
	if err != nil {
		return nil, err
	}
	defer leave()
	anew, err := a.payloads.Reseal(r.Context(), from, to, document)
	switch {
	case errors.Is(err, adminpayload.ErrMalformed), errors.Is(err, adminpayload.ErrNotAuthentic), errors.Is(err, adminpayload.ErrUnsupported):
		return document, nil
	case err != nil:
		return nil, err
	}
	return anew, nil
}

// resealAnswer has an answer's body sealed under another secret. Its length stays.
func (a *API) resealAnswer(r *intake.Request, from, to string, answer *upstream.Answer) error {
	rest := answer.ReadCloser
	head, err := io.ReadAll(io.LimitReader(rest, adminpayload.SealedHead))
	if err != nil {
		return intake.ReadError(err)
	}
	if !adminpayload.IsSealed(head) {
		answer.ReadCloser = body{io.MultiReader(bytes.NewReader(head), rest), rest}
		return nil
	}
	sealed, err := io.ReadAll(io.LimitReader(io.MultiReader(bytes.NewReader(head), rest), maxSealedAnswer+1))
	if err != nil {
		return intake.ReadError(err)
	}
	if len(sealed) > maxSealedAnswer { // nobody could open what was passed on
		return intake.NewError(http.StatusNotImplemented, "NotImplemented", "The storage's answer is too long to be sealed anew for a client with a pair of its own there.")
	}
	if sealed, err = a.reseal(r, from, to, sealed); err != nil {
		return err
	}
	answer.ReadCloser = body{io.MultiReader(bytes.NewReader(sealed), rest), rest}
	return nil
}

// body is an answer's body of which a part was read already.
type body struct {
	io.Reader
	io.Closer
}
