{{- define "eager.name" -}}
{{- printf "%s-eager" .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- define "eager.selector" -}}
app.kubernetes.io/name: eager
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "eager.labels" -}}
{{ include "eager.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
