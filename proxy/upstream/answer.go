package upstream

import (
	"encoding/xml"
	"io"
	"net/http"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// maxErrorBody bounds how much of an error answer is read, in bytes.
const maxErrorBody = 64 << 10

// errorDocument is the document of an S3 error.
type errorDocument struct {
	Code    string `xml:"Code"`
	Message string `xml:"Message"`
}

// ReadError reads an answer whose status is not one of success and closes it.
func ReadError(resp *http.Response) *storage.Error {
	defer resp.Body.Close()
	var e errorDocument
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err == nil && len(body) > 0 {
		_ = xml.Unmarshal(body, &e) // what is no S3 error keeps its status
	}
	if speaksTLS(resp.StatusCode, body) {
		e.Message = errSpeaksTLS.Error()
	}
	if e.Code == "" && e.Message == "" { // HEAD
		e.Code = resp.Header.Get("X-Minio-Error-Code")
		e.Message = trimQuotes(resp.Header.Get("X-Minio-Error-Desc"))
	}
	return &storage.Error{Status: resp.StatusCode, Code: e.Code, Message: e.Message, Header: storage.Metadata(resp.Header)}
}

func trimQuotes(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}
